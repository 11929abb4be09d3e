//! What a running proxy asks of the kernel, looked at by strace(1).

use crate::server::{Server, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Bytes by system call.
#[derive(Debug, Default)]
pub struct Moved {
    pub spliced: u64,
    pub copied: u64,
}

/// strace, attached until it is asked what it saw.
pub struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    pub fn of(server: &Server) -> Self {
        let pid = server.pid();
        let file = std::env::temp_dir().join(format!("duolu-proxy-{pid}.strace"));
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-p", &pid.to_string(), "-o"]).arg(&file);
        command.args(["-e", "trace=splice,recvfrom,sendto,recvmsg,sendmsg,readv,writev"]);
        let strace = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let strace = strace.expect("strace runs; make tools installs it");
        eventually("strace is attached", || {
            let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
            let mut tracers = tasks.map(|task| {
                let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
                status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
            });
            tracers.all(|traced| traced).then_some(())
        });
        Trace { strace, file }
    }

    /// Lets go, and adds up what the calls have returned.
    pub fn moved(mut self) -> Moved {
        kill_process(Pid::from_child(&self.strace), Signal::TERM).expect("strace");
        self.strace.wait().expect("strace");
        let text = std::fs::read_to_string(&self.file).expect("strace's output");
        let mut moved = Moved::default();
        for line in text.lines() {
            let Some((call, result)) = line.rsplit_once(" = ") else { continue };
            let Ok(bytes) = result.split_whitespace().next().unwrap_or_default().parse::<u64>() else {
                continue;
            };
            if call.contains("splice(") || call.contains("splice resumed") {
                moved.spliced += bytes;
            } else {
                moved.copied += bytes;
            }
        }
        moved
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}
