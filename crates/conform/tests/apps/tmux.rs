//! tmux: a session as a person has it, by its commands and through an attached terminal.

use crate::kit::{Folder, has_ours, methods, on_ours, until};
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// A tmux server on a socket of its own, ended with the test.
struct Tmux {
    folder: Folder,
    method: &'static str,
}

impl Tmux {
    fn command(&self) -> Command {
        let mut command = on_ours("tmux", self.method, &self.folder);
        command.env("TMUX_TMPDIR", self.folder.file("")).env("TERM", "xterm").env_remove("TMUX");
        command.env("LC_ALL", "C.UTF-8").env("SHELL", "/bin/sh").env("PS1", "$ ").env_remove("ENV");
        command.args(["-L", "duolu", "-f", "/dev/null"]);
        command
    }

    /// Runs a command of tmux's; what it prints.
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command();
        let output = command.args(arguments).stdout(Stdio::piped()).output().expect("tmux is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(text) } else { Err(self.folder.complaints()) }
    }

    fn must(&self, arguments: &[&str]) -> String {
        self.run(arguments).unwrap_or_else(|said| panic!("{}: tmux {arguments:?}: {said}", self.method))
    }

    fn lines(&self, arguments: &[&str]) -> usize {
        self.must(arguments).lines().count()
    }

    /// Waits until a pane shows a line: maybe behind a prompt, where it was typed before the shell asked for it.
    fn shows(&self, pane: &str, wanted: &str) {
        until(&format!("{} shows {wanted}", self.method), || {
            self.must(&["capture-pane", "-p", "-t", pane])
                .lines()
                .any(|line| line.trim_end().trim_start_matches("$ ") == wanted)
                .then_some(())
        });
    }

    /// A client on a terminal of its own, which script(1) gives it. What it shows goes to the file `terminal`.
    fn attach(&self) -> Child {
        let mut plain = self.command();
        plain.args(["attach-session", "-t", "work"]);
        let words = std::iter::once(plain.get_program()).chain(plain.get_args());
        let line: Vec<&str> = words.map(|word| word.to_str().expect("plain")).collect();
        let mut script = Command::new("script");
        script.args(["-q", "-f", "-e", "-c", &line.join(" "), &self.folder.file("terminal")]);
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        script.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        script.spawn().expect("script(1) is there")
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.run(&["kill-server"]);
        if std::thread::panicking() {
            eprintln!("its stderr:\n{}", self.folder.complaints());
        }
    }
}

fn session(method: &'static str) {
    let tmux = Tmux { folder: Folder::new("tmux"), method };
    tmux.must(&["new-session", "-d", "-s", "work", "-x", "100", "-y", "30", "sh"]);
    let pid: u32 = tmux.must(&["display-message", "-p", "#{pid}"]).trim().parse().expect("a process");
    assert!(has_ours(pid), "the server has another libevent");

    // Panes, and what is typed into them.
    tmux.must(&["split-window", "-h", "-t", "work", "sh"]);
    assert_eq!(tmux.lines(&["list-panes", "-t", "work"]), 2);
    tmux.must(&["send-keys", "-t", "work:0.0", "echo $((6*7))-left", "Enter"]);
    tmux.must(&["send-keys", "-t", "work:0.1", "echo $((6*7))-right", "Enter"]);
    tmux.shows("work:0.0", "42-left");
    tmux.shows("work:0.1", "42-right");

    // Much at once, and its end.
    tmux.must(&["send-keys", "-t", "work:0.0", "seq 1 30000; tmux_end=end; echo the-$tmux_end", "Enter"]);
    tmux.shows("work:0.0", "the-end");
    tmux.shows("work:0.0", "30000");

    // A terminal: what is typed there arrives, what the panes show is drawn.
    let mut client = tmux.attach();
    until("a client is attached", || (tmux.lines(&["list-clients"]) == 1).then_some(()));
    let mut keys = client.stdin.take().expect("piped");
    keys.write_all(b"echo typed-$((2+3))\r").expect("taken");
    tmux.shows("work:0.1", "typed-5");
    until("the terminal shows it", || tmux.folder.read("terminal").contains("typed-5").then_some(()));
    tmux.must(&["detach-client", "-s", "work"]);
    let status = until("the client leaves", || client.try_wait().expect("our child"));
    assert!(status.success(), "{status}");
    assert!(tmux.folder.read("terminal").contains("[detached (from session work)]"));
    assert_eq!(tmux.lines(&["list-clients"]), 0);

    // A shell that ends takes its pane with it (SIGCHLD); jobs and channels.
    tmux.must(&["send-keys", "-t", "work:0.1", "exit", "Enter"]);
    until("the pane goes", || (tmux.lines(&["list-panes", "-t", "work"]) == 1).then_some(()));
    tmux.must(&["run-shell", &format!("echo from-a-job >{}", tmux.folder.file("job"))]);
    assert_eq!(tmux.folder.read("job"), "from-a-job\n", "run-shell waits for its end");
    tmux.must(&["send-keys", "-t", "work:0.0", &format!("{} wait-for -S ready", line(&tmux)), "Enter"]);
    tmux.must(&["wait-for", "ready"]);

    // And its end.
    tmux.must(&["new-session", "-d", "-s", "other"]);
    tmux.must(&["kill-session", "-t", "work"]);
    assert!(tmux.run(&["has-session", "-t", "work"]).is_err());
    assert_eq!(tmux.lines(&["list-sessions"]), 1);
    tmux.must(&["kill-server"]);
    until("the server ends", || (!fs::exists(format!("/proc/{pid}")).expect("readable")).then_some(()));
    assert_eq!(tmux.folder.reports(), "");
}

/// tmux as a shell in a pane calls it; the server has given it the environment.
fn line(tmux: &Tmux) -> String {
    format!("TMUX_TMPDIR={} tmux -L duolu", tmux.folder.file(""))
}

#[test]
fn a_session_goes_as_it_should_on_every_method() {
    methods().for_each(session);
}
