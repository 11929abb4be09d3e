//! deploy/haproxy.cfg: three servers behind HAProxy, one after the other drained and started again while clients go on.
//! Not one of their requests may fail.

use crate::network::{BALANCER, Haproxy, NAMES, Networks, Running, in_networks};
use crate::server::{Server, can_run, duolu, eventually, told_to_do_without};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::{Command, Output};

/// What each of the three runs: the balancer does not care.
const MODELS: [&str; 3] = ["epoll-et", "thread", "io_uring"];
/// So many requests must have gone to a server before it is drained, and after all is done.
const ENOUGH: u64 = 20;

struct Cluster {
    networks: Networks,
    haproxy: Haproxy,
    servers: [[Server; 2]; 3],
}

impl Cluster {
    fn start(networks: Networks) -> Cluster {
        let servers = [0, 1, 2].map(|index| both(&networks, index));
        let cluster = Cluster { haproxy: Haproxy::start(), networks, servers };
        (0..3).for_each(|index| cluster.wait_until_up(index));
        cluster
    }

    fn wait_until_up(&self, index: usize) {
        for proxy in ["web", "echo"] {
            eventually("a server is up", || {
                let of = |column| self.haproxy.stat(proxy, NAMES[index], column);
                (of("status")? == "UP" && of("check_status")? == "L7OK").then_some(())
            });
        }
    }

    /// Waits until `more` requests (connections, for echo) have gone to it.
    fn wait_until_used(&self, index: usize, more: u64) {
        for proxy in ["web", "echo"] {
            let used = || self.haproxy.count(proxy, NAMES[index], "stot");
            let before = used();
            eventually("clients come to it", || (used() >= before + more).then_some(()));
        }
    }

    fn restart(&mut self, index: usize) {
        for server in &self.servers[index] {
            server.signal(Signal::TERM);
        }
        for server in &mut self.servers[index] {
            assert_eq!(server.exit_code(), Some(0), "{}", server.stderr());
            assert!(!server.stderr().contains("cut"), "{}", server.stderr());
        }
        self.servers[index] = both(&self.networks, index);
        self.wait_until_up(index);
    }

    /// Each reply's bytes are checked, and what goes wrong is counted.
    fn load(&self, words: &str) -> Running {
        const MORE: &str = "-d 10m -t 1 --timeout 30s --quiet --i-may-load-this-host";
        self.client(duolu().arg("load").args(words.split(' ')).args(MORE.split(' ')))
    }

    fn client(&self, command: &mut Command) -> Running {
        self.networks.clients.within(|| Ok(Running::spawn(command))).expect("a client")
    }
}

/// The http and the echo server of one machine.
fn both(networks: &Networks, index: usize) -> [Server; 2] {
    let model = if can_run(MODELS[index]) { MODELS[index] } else { "poll" };
    let start = |service: &str, port, admin| {
        let address = |port: u16| format!("10.77.{}.2:{port}", index + 1);
        let mut command = duolu();
        command.args(["serve", service, &address(port), "--admin", &address(admin), "--model", model]);
        command.args(["--lame-duck", "3s", "--drain", "10s"]);
        networks.servers[index].within(|| Ok(Server::spawn(&mut command))).expect("a server")
    };
    [start("http", 8080, 9090), start("echo", 7777, 9091)]
}

fn result(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn servers_are_drained_and_started_again_without_one_failed_request() {
    if told_to_do_without("DUOLU_TEST_NO_NETNS") {
        return;
    }
    in_networks(|networks| {
        let mut cluster = Cluster::start(networks);
        let loads = [
            format!("http://{BALANCER}/ -c 8 -R 200 --json"),
            format!("http://{BALANCER}/ -c 4 -r 100 --churn --json"),
            format!("{BALANCER}:7777 -c 4 -r 100 --churn --json"),
        ];
        let clients = loads.each_ref().map(|words| cluster.load(words));
        // One after the other on a kept connection; a line for each, unbuffered.
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--rate", "50/s", "-o", "/dev/null", "-w", "%{stderr}%{http_code}\\n"]);
        let curl = cluster.client(curl.arg(format!("http://{BALANCER}/?[1-100000]")));
        for index in 0..3 {
            cluster.wait_until_used(index, ENOUGH);
            cluster.restart(index);
        }
        cluster.wait_until_used(2, ENOUGH);
        for (words, client) in loads.iter().zip(clients) {
            let report = result(&client.interrupt());
            assert_eq!(report["errors"], json!({}), "{words}: {report:#}");
            assert!(report["messages"].as_u64() > Some(3 * ENOUGH), "{words}: {report:#}");
        }
        let curl = curl.terminate();
        let codes = String::from_utf8_lossy(&curl.stderr);
        assert!(codes.lines().count() > 20 && codes.lines().all(|code| code == "200"), "{codes}");
        for (proxy, column) in [("web", "hrsp_5xx"), ("web", "econ"), ("echo", "econ")] {
            assert_eq!(cluster.haproxy.count(proxy, "BACKEND", column), 0, "{proxy} {column}");
        }

        for proxy in ["web", "echo"] {
            let of = |column| cluster.haproxy.count(proxy, "BACKEND", column);
            eprintln!(
                "{proxy}: {} sessions, {} tried again, {} elsewhere",
                of("stot"),
                of("wretr"),
                of("wredis")
            );
        }
        see_a_failure_where_there_is_one(&mut cluster);
    });
}

/// That these clients would have told.
fn see_a_failure_where_there_is_one(cluster: &mut Cluster) {
    let mut held = cluster.load(&format!("{BALANCER}:7777 -c 12 -R 200 --json-stream"));
    let here = || cluster.haproxy.count("echo", NAMES[0], "scur") > 0;
    eventually("connections are held", || here().then_some(()));
    cluster.servers[0][1].signal(Signal::KILL);
    let told = held.lines().take(60).find(|line| {
        let second: Value = serde_json::from_str(line).expect("an object a second");
        second["errors"] != json!({})
    });
    assert!(told.is_some(), "a server was killed, and nobody minds");
}
