//! The two languages of what people read. A sentence and its translation stand side by side where they are used, so
//! that neither is forgotten when the other changes.

use std::fmt;

/// A language.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Lang {
    /// English
    En,
    /// 中文
    Zh,
}

impl Lang {
    /// Both, English first.
    pub const BOTH: [Lang; 2] = [Lang::En, Lang::Zh];

    /// The language of the locale: LC_ALL, LC_MESSAGES and LANG in this order, as locale(7) has it.
    pub fn of_locale() -> Self {
        let names = ["LC_ALL", "LC_MESSAGES", "LANG"];
        let locale = names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        if locale.is_some_and(|locale| locale.starts_with("zh")) { Lang::Zh } else { Lang::En }
    }

    /// The text of this language.
    pub const fn pick<'a>(self, en: &'a str, zh: &'a str) -> &'a str {
        match self {
            Lang::En => en,
            Lang::Zh => zh,
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Lang::En => Lang::Zh,
            Lang::Zh => Lang::En,
        }
    }

    /// The value of the attribute `lang` (BCP 47).
    pub const fn tag(self) -> &'static str {
        self.pick("en", "zh-CN")
    }

    /// The language in the names of elements, which are unique in the whole file.
    pub const fn key(self) -> &'static str {
        self.pick("en", "zh")
    }

    /// Names one after the other.
    pub fn list<T: AsRef<str>>(self, names: &[T]) -> String {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        names.join(self.pick(", ", "、"))
    }

    /// `5 connections`, `5 个连接`.
    pub fn connections(self, count: u64) -> String {
        let number = crate::walls::grouped(count);
        match self {
            Lang::En if count == 1 => format!("{number} connection"),
            Lang::En => format!("{number} connections"),
            Lang::Zh => format!("{number} 个连接"),
        }
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}
