//! `duolu why` on real servers: what it says of each is what is known of it.

mod why_support;

use serde_json::Value;
use std::io::Write;
use std::process::Command;
use why_support::*;

/// With one connection that is idle and one that has just been answered.
fn with_two_connections(server: &Server) -> Value {
    let mut streams = connect(server.port, 2);
    streams.iter_mut().for_each(echo);
    told_until(server.port, |report| report["certain"] == true && report["connections"] == 2)
}

#[test]
fn every_model_of_serve_is_told_by_its_connections() {
    for model in [
        "fork",
        "thread",
        "select",
        "poll",
        "epoll-lt",
        "epoll-et",
        "epoll-oneshot",
        "io_uring-poll",
        "io_uring",
    ] {
        if model.starts_with("io_uring") && std::env::var_os("DUOLU_TEST_NO_URING").is_some() {
            continue;
        }
        let server = serve(model, &[]);
        let report = with_two_connections(&server);
        assert_eq!(
            (&report["model"], &report["certain"]),
            (&Value::from(model), &Value::from(true)),
            "{report:#}"
        );
        assert_eq!((&report["connections"], &report["port"]), (&Value::from(2), &Value::from(server.port)));
        assert_eq!(report["process"]["pid"], server.child.id(), "{report:#}");
        assert_eq!(report["process"]["name"], "duolu");
        assert_eq!((&report["complete"], warnings(&report).len()), (&Value::from(true), 0), "{report:#}");
    }
    let server = serve("prefork", &["--workers", "3"]);
    let report = with_two_connections(&server);
    assert_eq!(report["model"], "prefork", "{report:#}");
    assert_eq!(next_wall(&report), ("more connections than processes".to_owned(), 3), "{report:#}");
}

#[test]
fn epoll_is_told_descriptor_by_descriptor() {
    for (model, edge, oneshot) in [("epoll-lt", 0, 0), ("epoll-et", 2, 0), ("epoll-oneshot", 0, 2)] {
        let server = serve(model, &[]);
        let report = with_two_connections(&server);
        let epoll = loop_of(&report);
        assert_eq!(
            (&epoll["edge"], &epoll["oneshot"]),
            (&Value::from(edge), &Value::from(oneshot)),
            "{report:#}"
        );
        let (watched, level) = (epoll["watched"].as_u64().unwrap(), epoll["level"].as_u64().unwrap());
        assert_eq!(watched, level + edge, "{epoll}");
        assert_eq!(
            (&epoll["listener"], &epoll["data"]),
            (&Value::from("level"), &Value::from("token")),
            "{epoll}"
        );
        assert_eq!(epoll["connections"], 2);
        assert_eq!(epoll["threads"].as_array().map(Vec::len), Some(1), "{epoll}");
    }
}

#[test]
fn how_workers_share_a_port_is_told() {
    for accept in ["shared", "exclusive", "reuseport"] {
        let server = serve("epoll-et", &["--workers", "2", "--accept", accept]);
        let report = told(server.port);
        assert_eq!(report["accept"], accept, "{report:#}");
        let report = with_two_connections(&server);
        assert_eq!(
            (&report["accept"], &report["model"]),
            (&Value::from(accept), &Value::from("epoll-et")),
            "{report:#}"
        );
    }
}

/// Without connections only the way of waiting shows; of duolu's own servers the command line says the rest.
#[test]
fn an_idle_server_is_told_and_what_is_not_seen_is_marked() {
    for model in ["fork", "thread", "select", "poll", "epoll-lt", "epoll-et", "epoll-oneshot"] {
        let report = told(serve(model, &[]).port);
        assert_eq!(
            (&report["model"], &report["certain"]),
            (&Value::from(model), &Value::from(false)),
            "{report:#}"
        );
        assert!(report["evidence"].to_string().contains("nobody is connected"), "{report:#}");
    }
    let report = told(serve("prefork", &["--workers", "3"]).port);
    assert_eq!(
        (&report["model"], &report["certain"]),
        (&Value::from("prefork"), &Value::from(true)),
        "{report:#}"
    );
    let iterative = faulty("iterative", None);
    let report = told(iterative.port);
    assert_eq!(
        (&report["model"], &report["certain"]),
        (&Value::from("blocking"), &Value::from(false)),
        "{report:#}"
    );
    assert_eq!(
        report["waits"][0]["call"].as_str().map(|call| call.starts_with("accept")),
        Some(true),
        "{report:#}"
    );
    if std::env::var_os("DUOLU_TEST_NO_URING").is_none() {
        for model in ["io_uring-poll", "io_uring"] {
            assert_eq!(told(serve(model, &[]).port)["model"], model);
        }
    }
}

#[test]
fn memcached_is_level_triggered_and_keeps_the_descriptor() {
    let server = start(|port, _| {
        let mut command = Command::new("memcached");
        command.args(["-l", "127.0.0.1", "-t", "2", "-u", "nobody", "-p", &port.to_string()]);
        command
    });
    let idle = told(server.port);
    assert_eq!(
        (&idle["model"], &idle["certain"]),
        (&Value::from("epoll-lt"), &Value::from(false)),
        "{idle:#}"
    );
    let mut streams = connect(server.port, 3);
    streams[0].write_all(b"version\r\n").expect("written");
    let report = told_until(server.port, |report| report["certain"] == true);
    assert_eq!(
        (&report["model"], &report["accept"]),
        (&Value::from("epoll-lt"), &Value::from("handed")),
        "{report:#}"
    );
    let epoll = loop_of(&report);
    assert_eq!((&epoll["data"], &epoll["edge"]), (&Value::from("fd"), &Value::from(0)), "{report:#}");
    assert_eq!(accepting(&report)["listener"], "level");
    assert_eq!(report["listen"]["backlog"], 1024);
    assert!(report["threads"].as_u64() >= Some(4), "{report:#}");
    assert_eq!(next_wall(&report).0, "the server's own limit", "{report:#}");
}

#[test]
fn nginx_is_edge_triggered_but_for_its_listener_and_keeps_a_pointer() {
    let server = start(|port, folder| {
        let at = folder.path();
        let conf = folder.file(
            "nginx.conf",
            &format!(
                "daemon off; worker_processes 1; pid {at}/pid; error_log {at}/error.log;\n\
                 events {{ worker_connections 256; }}\n\
                 http {{ access_log off; client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c;\n\
                 uwsgi_temp_path {at}/d; scgi_temp_path {at}/e; keepalive_timeout 600s;\n\
                 server {{ listen 127.0.0.1:{port}; location / {{ return 200 hello; }} }} }}\n"
            ),
        );
        let mut command = Command::new("/usr/sbin/nginx");
        command.args(["-p", at, "-c", &conf]);
        command
    });
    let idle = told(server.port);
    assert_eq!(
        (&idle["model"], &idle["certain"]),
        (&Value::from("epoll-et"), &Value::from(false)),
        "{idle:#}"
    );
    let mut streams = connect(server.port, 3);
    streams[0].write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
    let report = told_until(server.port, |report| report["certain"] == true && report["connections"] == 3);
    assert_eq!(report["model"], "epoll-et", "{report:#}");
    let epoll = loop_of(&report);
    assert_eq!(
        (&epoll["data"], &epoll["listener"]),
        (&Value::from("pointer"), &Value::from("level")),
        "{report:#}"
    );
    assert_eq!(report["process"]["pid"], server.child.id(), "the master stands for all: {report:#}");
    let processes = report["processes"].as_array().expect("processes");
    assert_eq!(processes.len(), 2, "master and worker: {report:#}");
    assert_eq!(
        (&processes[0]["connections"], &processes[1]["connections"]),
        (&Value::from(0), &Value::from(3))
    );
    assert_eq!(processes[1]["parent"], processes[0]["pid"]);
    // 256 places, of which the listener and the channel from the master take one each.
    assert_eq!(next_wall(&report), ("the server's own limit".to_owned(), 254), "{report:#}");
    // Asked for by the worker's number, it is the same server.
    let worker = processes[1]["pid"].to_string();
    let by_pid = json(&why(&[&worker, "--json"]));
    assert_eq!(
        (by_pid["process"]["pid"].to_string(), &by_pid["model"]),
        (worker, &report["model"]),
        "{by_pid:#}"
    );
}

fn is_one_level_triggered_loop_of_descriptors(report: &Value) {
    let (epoll, facts) = (loop_of(report), [&report["model"], &report["accept"]]);
    assert_eq!(facts, [&Value::from("epoll-lt"), &Value::from("single")], "{report:#}");
    assert_eq!(
        [&epoll["data"], &epoll["listener"]],
        [&Value::from("fd"), &Value::from("level")],
        "{report:#}"
    );
}

#[test]
fn redis_is_level_triggered_and_keeps_the_descriptor() {
    let server = start(|port, folder| {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            folder.path(),
        ]);
        command
    });
    let mut streams = connect(server.port, 2);
    streams[0].write_all(b"PING\r\n").expect("written");
    let report = told_until(server.port, |report| report["certain"] == true);
    is_one_level_triggered_loop_of_descriptors(&report);
    assert_eq!(next_wall(&report).0, "server descriptor limit", "{report:#}");
}

#[test]
fn haproxy_is_level_triggered_and_its_threads_share_the_listener() {
    let server = start(|port, folder| {
        let conf = folder.file(
            "haproxy.cfg",
            &format!(
                "global\n  maxconn 400\n  nbthread 2\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 500s\n  \
                 timeout server 500s\nfrontend f\n  bind 127.0.0.1:{port}\n  http-request return status 200\n"
            ),
        );
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f", &conf]);
        command
    });
    let mut streams = connect(server.port, 3);
    streams[0].write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
    let report = told_until(server.port, |report| report["certain"] == true);
    assert_eq!(
        (&report["model"], &report["accept"]),
        (&Value::from("epoll-lt"), &Value::from("shared")),
        "{report:#}"
    );
    assert_eq!(loop_of(&report)["data"], "fd", "{report:#}");
    assert_eq!(next_wall(&report), ("the server's own limit".to_owned(), 400), "{report:#}");
}

#[test]
fn postgresql_is_a_process_for_each_connection() {
    let server = start(|port, folder| {
        let data = format!("{}/data", folder.path());
        let root = rustix::process::getuid().is_root();
        // PostgreSQL refuses root.
        let program = |name: &str| match root {
            true => as_user("postgres", &postgres(name)),
            false => Command::new(postgres(name)),
        };
        let made = finish(program("initdb").args(["-D", &data, "-A", "trust", "-N"]));
        assert!(made.status.success(), "{made:?}");
        let mut command = program("postgres");
        command.args(["-D", &data, "-h", "127.0.0.1", "-k", folder.path(), "-p", &port.to_string()]);
        command
    });
    let idle = told(server.port);
    assert_eq!((&idle["model"], &idle["certain"]), (&Value::from("fork"), &Value::from(false)), "{idle:#}");
    let _streams = connect(server.port, 3);
    // A connection that the kernel has made may still wait for its process.
    let forked = |report: &Value| report["processes"].as_array().is_some_and(|all| all.len() == 4);
    let report = told_until(server.port, |report| report["certain"] == true && forked(report));
    assert_eq!(report["model"], "fork", "{report:#}");
    assert_eq!(report["process"]["pid"], server.child.id(), "{report:#}");
    let processes = report["processes"].as_array().expect("processes");
    assert_eq!(processes.len(), 4, "{report:#}");
    assert!(processes[1..].iter().all(|process| process["connections"] == 1), "{report:#}");
    assert_eq!(next_wall(&report), ("the server's own limit".to_owned(), 100), "{report:#}");
    assert!(report["next_wall"]["evidence"].to_string().contains("max_connections"), "{report:#}");
}

#[test]
fn pythons_http_server_is_a_thread_for_each_connection() {
    let server = start(|port, folder| {
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()]).current_dir(&folder.0);
        command
    });
    let idle = told(server.port);
    assert_eq!((&idle["model"], &idle["certain"]), (&Value::from("thread"), &Value::from(false)), "{idle:#}");
    let _streams = connect(server.port, 4);
    let report = told_until(server.port, |report| report["certain"] == true && report["threads"] == 5);
    assert_eq!(
        (&report["model"], &report["threads"]),
        (&Value::from("thread"), &Value::from(5)),
        "{report:#}"
    );
}

#[test]
fn node_is_level_triggered_and_keeps_the_descriptor() {
    let server = start(|port, folder| {
        let script = folder.file(
            "server.js",
            &format!("require('http').createServer((q, s) => s.end('hello')).listen({port}, '127.0.0.1');"),
        );
        let mut command = Command::new("node");
        command.arg(script);
        command
    });
    let mut streams = connect(server.port, 3);
    streams[0].write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
    let report = told_until(server.port, |report| report["certain"] == true);
    is_one_level_triggered_loop_of_descriptors(&report);
    assert_eq!(report["listen"]["backlog"], 511);
}

#[test]
fn blocking_servers_of_other_shapes_are_told_apart() {
    for (fault, model) in
        [("iterative", "iterative"), ("accepting-pool", "thread"), ("select", "select"), ("fork", "fork")]
    {
        let server = faulty(fault, None);
        let streams = connect(server.port, 2);
        let report = told_until(server.port, |report| {
            report["certain"] == true && report["connections"].as_u64() > Some(0)
        });
        assert_eq!(report["model"], model, "{report:#}");
        drop(streams);
    }
    let server = faulty("select", None);
    let _streams = connect(server.port, 2);
    let (name, at) = next_wall(&told_until(server.port, |report| report["connections"] == 2));
    assert_eq!(name, "FD_SETSIZE");
    assert!((1000..1024).contains(&at), "{at}");
}
