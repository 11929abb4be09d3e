//! Who is measured: a model of ours, a command of the user's, or a server that runs already.

use super::blocks::Speak;
use crate::failure::Failure;
use crate::model::Model;
use std::net::SocketAddr;

/// What the user writes where the server's port belongs.
pub const PORT: &str = "{port}";

/// The longest name: it has a column of the table.
const LONGEST_NAME: usize = 20;

/// One line of the chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// What it is called in the table and in JSON's `model`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// Where its server comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `duolu serve --model ...`.
    Model(Model),
    /// A program that is started for it, [`PORT`] somewhere among its words.
    Command(Vec<String>),
    /// A server that runs already, and is neither started nor ended.
    Target(SocketAddr),
}

impl From<Model> for Contender {
    fn from(model: Model) -> Self {
        Contender { name: model.name().to_owned(), kind: Kind::Model(model) }
    }
}

impl Contender {
    /// Its model, if it is one of ours.
    pub fn model(&self) -> Option<Model> {
        match self.kind {
            Kind::Model(model) => Some(model),
            _ => None,
        }
    }

    /// The command or address of a server that is not ours, as the user wrote it.
    pub fn origin(&self) -> Option<String> {
        match &self.kind {
            Kind::Model(_) => None,
            Kind::Command(words) => Some(words.join(" ")),
            Kind::Target(address) => Some(address.to_string()),
        }
    }

    /// The user's command, under `name` or a name made from it.
    ///
    /// # Errors
    /// No [`PORT`] in it: then nobody knows where it listens. A name that is taken or too long.
    pub fn command(words: &[String], name: Option<&str>) -> Result<Self, Failure> {
        if !words.iter().any(|word| word.contains(PORT)) {
            return Err(Failure::usage(format!(
                "the command '{}' has no {PORT}: write it where the port to listen on belongs, e.g. -- ./server --port {PORT}",
                words.join(" ")
            )));
        }
        let name = match name {
            Some(name) => checked(name)?,
            None => name_of(words),
        };
        Ok(Contender { name, kind: Kind::Command(words.to_vec()) })
    }

    /// A server that runs already.
    pub fn target(address: SocketAddr, name: Option<&str>) -> Result<Self, Failure> {
        let name = name.map_or_else(|| Ok(format!(":{}", address.port())), checked)?;
        Ok(Contender { name, kind: Kind::Target(address) })
    }

    /// `NAME=COMMAND ... {port}`, run by the shell.
    pub fn also(text: &str) -> Result<Self, Failure> {
        let Some((name, line)) = text.split_once('=') else {
            return Err(Failure::usage(format!("--also '{text}': write --also 'NAME=COMMAND ... {PORT}'")));
        };
        Self::command(&["sh".to_owned(), "-c".to_owned(), format!("exec {line}")], Some(name))
    }

    /// Whether it can be asked to speak this.
    pub fn speaks(&self, speak: Speak) -> bool {
        self.model().is_none() || speak != Speak::Memcached
    }
}

fn checked(name: &str) -> Result<String, Failure> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(Failure::usage(format!(
            "a server's name (--name, --also NAME=) has 1 to {LONGEST_NAME} characters, not '{name}'"
        )));
    }
    if Model::ALL.iter().any(|model| model.name() == name) {
        return Err(Failure::usage(format!(
            "a server's name (--name, --also NAME=): '{name}' is a model of ours; take another"
        )));
    }
    Ok(name.to_owned())
}

/// The program's name, or its script's where the program only runs scripts.
fn name_of(words: &[String]) -> String {
    let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
    let program = words.first().map_or(String::new(), |word| base(word));
    let shell = ["sh", "bash", "dash", "zsh", "env", "exec", "nohup", "taskset", "setsid"];
    let runs_scripts = |name: &str| {
        ["python", "node", "perl", "ruby", "php", "lua", "java", "deno", "bun"]
            .iter()
            .any(|interpreter| name.starts_with(interpreter))
    };
    let mut all: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
    if let Some(exec) = all.iter().rposition(|word| *word == "exec") {
        all.drain(..=exec); // what a script does before is not the server
    }
    let mut parts = all.into_iter().map(base).filter(|word| {
        !word.starts_with('-') && !word.contains(PORT) && !shell.contains(&word.as_str()) && !word.is_empty()
    });
    let mut name = parts.next().unwrap_or(program);
    if runs_scripts(&name) {
        name = parts.next().filter(|script| script.contains('.')).unwrap_or(name);
    }
    let mut name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    if name.is_empty() || Model::ALL.iter().any(|model| model.name() == name) {
        name = "own server".to_owned();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str, name: Option<&str>) -> Result<Contender, Failure> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Contender::command(&words, name)
    }

    #[test]
    fn a_command_is_called_after_its_program_or_script() {
        for (line, name) in [
            ("./target/release/my-server --port {port}", "my-server"),
            ("python3 tools/echo.py {port}", "echo.py"),
            ("python3 -m http.server {port}", "http.server"),
            ("sh -c exec memcached -p {port}", "memcached"),
            ("sh -c sed s/P/{port}/ conf > c && exec /usr/sbin/nginx -c c", "nginx"),
            ("node {port}", "node"),
            ("poll {port}", "own server"),
            ("/opt/an-extraordinarily-long-server-name {port}", "an-extraordinarily-l"),
        ] {
            assert_eq!(command(line, None).unwrap().name, name, "{line}");
        }
        assert_eq!(command("x {port}", Some("mine")).unwrap().name, "mine");
        assert_eq!(Contender::also("libuv=./uv-echo {port}").unwrap().name, "libuv");
    }

    #[test]
    fn what_cannot_be_measured_is_a_usage_error() {
        let sentence = |line, name| command(line, name).unwrap_err().message().to_owned();
        assert!(sentence("./server 8080", None).contains("has no {port}"));
        assert!(sentence("x {port}", Some("epoll-et")).contains("a model of ours"));
        assert!(sentence("x {port}", Some("")).contains("1 to 20"));
        assert!(Contender::also("./server {port}").is_err());
    }
}
