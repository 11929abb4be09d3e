//! Servers that are looked at more briefly: they start, answer, and end when they are asked to.

use crate::kit::{Folder, Server, has_ours, methods, on_ours, until, used};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

/// A folder with these rights, as servers are particular about theirs.
fn folder(name: &str, mode: u32) -> Folder {
    let folder = Folder::new(name);
    fs::set_permissions(folder.file(""), fs::Permissions::from_mode(mode)).expect("our own");
    folder
}

fn start(mut command: Command, folder: Folder, method: &str, socket: &str) -> Server {
    let mut server = Server { child: command.spawn().expect("installed (make tools)"), folder };
    until("it listens", || {
        assert_eq!(server.child.try_wait().expect("our child"), None, "{}", server.folder.read("stdout"));
        UnixStream::connect(server.folder.file(socket)).ok()
    });
    assert!(has_ours(server.child.id()));
    assert!(used(&server.folder, method), "{}", server.folder.read("verbose"));
    server
}

/// Without a network: its control port, its timers and its signals are the loop's.
#[test]
fn tor_is_asked_by_its_control_port_on_every_method() {
    for method in methods() {
        let folder = folder("tor", 0o700);
        let mut command = on_ours("tor", method, &folder);
        command.args([
            "-f",
            "/dev/null",
            "--ignore-missing-torrc",
            "--DisableNetwork",
            "1",
            "--RunAsDaemon",
            "0",
        ]);
        command.args(["--SocksPort", "0", "--ControlPort", &format!("unix:{}", folder.file("control"))]);
        command.args(["--CookieAuthentication", "0", "--DataDirectory", &folder.file("data")]);
        // tor asks for the changelist, which is in the name.
        let name = if method == "epoll" { "epoll (with changelist)" } else { method };
        let mut server = start(command, folder, name, "control");
        let mut asks = UnixStream::connect(server.folder.file("control")).expect("it listens");
        asks.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        let mut answers = BufReader::new(asks.try_clone().expect("a second end"));
        for (ask, wanted) in [
            ("AUTHENTICATE", &["250 OK"][..]),
            ("GETINFO version", &["250-version=", "250 OK"]),
            ("GETINFO config/names", &["250+config/names="]),
        ] {
            asks.write_all(format!("{ask}\r\n").as_bytes()).expect("taken");
            for wanted in wanted {
                let mut line = String::new();
                answers.read_line(&mut line).expect("an answer");
                assert!(line.starts_with(wanted), "{method}: {ask}: {line}");
            }
        }
        // A long answer, read slowly: to its end.
        let last = answers.lines().map(|line| line.expect("text")).find(|line| line == "250 OK");
        assert!(last.is_some(), "{method}");
        assert!(server.end("INT").success(), "{method}: {}", server.folder.read("stdout"));
        assert_eq!(server.folder.reports(), "");
    }
}

/// Its console, by ten clients one after the other and at once.
#[test]
fn pgbouncer_is_asked_by_its_console_on_every_method() {
    for method in methods() {
        let folder = folder("pgbouncer", 0o777);
        let settings = format!(
            "[databases]\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {}\nauth_type = any\nadmin_users = duolu\n",
            folder.file("")
        );
        fs::write(folder.file("settings.ini"), settings).expect("our own folder");
        let mut command = on_ours("/usr/sbin/pgbouncer", method, &folder);
        command.args(["-q", "-u", "nobody", &folder.file("settings.ini")]);
        let mut server = start(command, folder, method, ".s.PGSQL.6432");
        let place = server.folder.file("");
        let ask = || {
            let mut psql = Command::new("psql");
            psql.args(["-h", &place, "-p", "6432", "-U", "duolu", "-Atc", "show version", "pgbouncer"]);
            let output = psql.output().expect("psql is installed (make tools)");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                said.contains("PgBouncer "),
                "{method}: {said}{}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        (0..3).for_each(|_| ask());
        std::thread::scope(|scope| (0..7).for_each(|_| drop(scope.spawn(ask))));
        let status = server.end("INT");
        assert!(status.success(), "{method}: {status}: {}", server.folder.complaints());
        assert_eq!(server.folder.reports(), "");
    }
}
