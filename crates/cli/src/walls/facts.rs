//! What was read about a wall, as numbers with names, and the sentences that are made of them.
//!
//! A sentence is a template (the folder `sayings` has them all): the English and the Chinese one take the same facts, so a
//! result can be read in either language long after it was measured, and a program finds the numbers beside the words.
//!
//! `{name}` is a number grouped by thousands, or a text. After a colon stands how it is written:
//! `id` not grouped, `.1` so many decimals, `%` a share as per cent, `MiB` and `GB` bytes, `ms` microseconds, `cores`,
//! `errors` (kinds and how many of each), `word` (one of a few words that are translated), `one|many` a plural without
//! its number. `{name?text}` is the text where the fact is true. `[...]` falls out where a fact in it is missing; a
//! fact that is missing elsewhere leaves no sentence at all.

use super::{grouped, memory};
use crate::lang::Lang;
use crate::load::errors;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Numbers and names, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Facts(BTreeMap<String, Value>);

impl Facts {
    /// The fields of an object; what is null was not known. Anything else has no facts.
    pub fn of(value: &Value) -> Self {
        let fields = value.as_object().into_iter().flatten();
        let known = fields.filter(|(_, value)| !value.is_null());
        Facts(known.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sentence of a template. `None`: a fact that it needs is not there, or is of another kind.
    pub fn say(&self, lang: Lang, template: &str) -> Option<String> {
        let (mut text, mut rest) = (String::new(), template);
        while let Some(at) = rest.find(['{', '[']) {
            text.push_str(&rest[..at]);
            let close = if rest[at..].starts_with('{') { '}' } else { ']' };
            let end = at + rest[at..].find(close)?;
            let inside = &rest[at + 1..end];
            match close {
                '}' => text.push_str(&self.field(lang, inside)?),
                _ => text.push_str(&self.say(lang, inside).unwrap_or_default()),
            }
            rest = &rest[end + 1..];
        }
        Some(text + rest)
    }

    fn field(&self, lang: Lang, field: &str) -> Option<String> {
        if let Some((name, text)) = field.split_once('?') {
            let is_so = self.0.get(name).and_then(Value::as_bool).unwrap_or(false);
            return Some(if is_so { text.to_owned() } else { String::new() });
        }
        let (name, form) = field.split_once(':').unwrap_or((field, ""));
        write(lang, self.0.get(name)?, form)
    }
}

/// Writes one fact.
fn write(lang: Lang, value: &Value, form: &str) -> Option<String> {
    if let Some((one, many)) = form.split_once('|') {
        return Some(if value.as_u64()? == 1 { one } else { many }.to_owned());
    }
    let whole = value.as_u64();
    Some(match form {
        "" => match value.as_str() {
            Some(text) => text.to_owned(),
            None => grouped(whole?),
        },
        "id" => value.as_i64()?.to_string(),
        ".1" => format!("{:.1}", value.as_f64()?),
        ".2" => format!("{:.2}", value.as_f64()?),
        "%" => format!("{:.0} %", value.as_f64()? * 100.0),
        "MiB" => format!("{} MiB", grouped(whole? >> 20)),
        "GB" => memory::gigabytes(whole?),
        "ms" => format!("{:.1} ms", value.as_f64()? / 1e3),
        "cores" => match (lang, whole?) {
            (Lang::En, 1) => "one core".to_owned(),
            (Lang::En, cores) => format!("{cores} cores"),
            (Lang::Zh, cores) => format!("{cores} 个核心"),
        },
        "errors" => errors::list(lang, value.as_object()?.iter().map(|(kind, count)| (kind, count.as_u64()))),
        "word" => word(lang, value.as_str()?),
        _ => return None,
    })
}

/// Words that facts are made of; what is not among them stays as it is.
fn word(lang: Lang, word: &str) -> String {
    const WORDS: [(&str, &str); 6] = [
        ("the loader", "压测端"),
        ("the server", "服务器"),
        ("processes", "进程"),
        ("threads", "线程"),
        ("pids.max of the cgroup", "cgroup 的 pids.max"),
        ("RLIMIT_NPROC of the user", "该用户的 RLIMIT_NPROC"),
    ];
    let known = WORDS.iter().find(|(english, _)| *english == word);
    known.map_or(word, |(english, chinese)| lang.pick(english, chinese)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn say(template: &str) -> Option<String> {
        let facts = json!({"used": 1_017, "pid": 4_711, "name": "nginx", "share": 0.936, "lag": 2_500, "full": true,
            "one": 1, "bytes": 5u64 << 30, "none": null, "errors": {"reset": 2, "timeout": 1_000}});
        Facts::of(&facts).say(Lang::En, template)
    }

    #[test]
    fn facts_are_written_as_their_template_says() {
        let text =
            say("process {pid:id} ({name}) has {used} of {one:cores}, {share:.2}, {share:%}, {lag:ms}");
        assert_eq!(text.unwrap(), "process 4711 (nginx) has 1,017 of one core, 0.94, 94 %, 2.5 ms");
        let text =
            say("{bytes:MiB}, {bytes:GB}, {errors:errors}; {one} {one:waits|wait}, {used} {used:waits|wait}");
        assert_eq!(text.unwrap(), "5,120 MiB, 5.37 GB, reset 2, timeout 1,000; 1 waits, 1,017 wait");
    }

    #[test]
    fn what_is_not_known_falls_out_or_leaves_no_sentence() {
        assert_eq!(
            say("a[ of {none}][ of {used}]{full? and full}{empty? and empty}").unwrap(),
            "a of 1,017 and full"
        );
        for missing in
            ["{none}", "{nobody}", "{name:id}", "{name:%}", "{used:errors}", "{used", "[a", "{used:odd}"]
        {
            assert_eq!(say(missing), None, "{missing}");
        }
        assert!(Facts::of(&json!([1])).is_empty() && Facts::of(&json!({"a": null})).is_empty());
    }

    #[test]
    fn what_a_server_said_is_no_template() {
        let facts = Facts::of(&json!({"said": "{used} [x] {"}));
        assert_eq!(facts.say(Lang::Zh, "它说：{said}").unwrap(), "它说：{used} [x] {");
    }
}
