use super::*;
use crate::walls::memory;
use crate::walls::tasks::Room;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;

/// A server (this process stands in for it) that was asked for 100 connections.
fn facts(model: Model, report: Option<&LoadReport>) -> Facts<'_> {
    Facts {
        model: Some(model),
        asked: 100,
        report,
        loader_said: None,
        loader_status: Some(ExitStatus::from_raw(0)),
        server_pid: std::process::id(),
        server_said: Vec::new(),
        server_last_words: None,
        server_ended: None,
        marks: Marks::default(),
        descriptors_before: 10,
        server_cpu: Some(0.5),
        server_softirq: 0.0,
        others_cpu: None,
        all_cpus: 2,
        server_cpus: 1,
        shared: false,
        workers: None,
        listen: None,
        oom_kills: 0,
        target: "127.0.0.1:1".parse().unwrap(),
        out_of_time: false,
    }
}

fn report(established: u64, errors: &[(&str, u64)]) -> LoadReport {
    LoadReport {
        established,
        messages: 1_000,
        rate: 1_000.0,
        errors: errors.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect::<BTreeMap<_, _>>(),
        loader_cpu: Some(0.4),
        ..LoadReport::default()
    }
}

fn name(wall: Option<Wall>) -> String {
    wall.map_or("none".to_owned(), |wall| wall.name)
}

#[test]
fn all_held_without_an_error_is_no_wall() {
    assert_eq!(wall(&facts(Model::Poll, Some(&report(100, &[])))), None);
}

#[test]
fn the_cause_is_named_and_not_what_follows_from_it() {
    // Out of descriptors, the queue overflows and the loader waits: the loader's own word for it comes later.
    let short = LoadReport {
        wall: Some(Wall::new(names::ACCEPT_QUEUE, "connections wait", "accept")),
        ..report(60, &[("not_accepted", 40)])
    };
    let mut seen = facts(Model::Poll, Some(&short));
    assert_eq!(name(wall(&seen)), names::ACCEPT_QUEUE);
    seen.marks.descriptors = process::limits(seen.server_pid).and_then(|l| l.open_files.soft).unwrap_or(0);
    assert_eq!(name(wall(&seen)), names::SERVER_DESCRIPTORS);
    seen.marks.seen = Some(Wall::new(names::MEMORY, "MemAvailable is 1 MiB", "more"));
    assert_eq!(name(wall(&seen)), names::MEMORY);
}

#[test]
fn processes_and_threads_that_were_refused_are_told_with_the_servers_words() {
    let short = report(40, &[("closed_early", 60)]);
    for (model, expected) in [(Model::Fork, names::PROCESSES), (Model::Thread, names::THREADS)] {
        let mut facts = facts(model, Some(&short));
        facts.marks.descendants = 40;
        facts.marks.threads = 41;
        facts.server_said = vec!["no process for a connection: EAGAIN".to_owned()];
        let wall = wall(&facts).unwrap();
        assert_eq!(wall.name, expected);
        assert!(wall.evidence.contains("had 40") && wall.evidence.contains("EAGAIN"), "{}", wall.evidence);
        facts.server_said.clear();
        assert_eq!(name(super::wall(&facts)), UNEXPLAINED, "nothing proves it");
    }
}

#[test]
fn the_limit_that_is_proven_to_be_used_up_is_named() {
    let short = report(40, &[("closed_early", 60)]);
    let mut facts = Facts { model: None, ..facts(Model::Thread, Some(&short)) };
    facts.marks.threads = 41;
    facts.marks.tasks = Some(Room { used: 60, limit: 60, source: "pids.max of the cgroup" });
    let told = wall(&facts).unwrap();
    assert_eq!(told.name, names::THREADS, "nobody needs to say it: {}", told.evidence);
    assert!(told.evidence.contains("pids.max of the cgroup allows 60, 60 exist"), "{}", told.evidence);
    facts.marks.tasks = Some(Room { used: 60, limit: 32_768, source: "kernel.pid_max" });
    assert_eq!(name(wall(&facts)), UNEXPLAINED, "there is room");
    facts.marks.address_space = Some(memory::Room { used: 130 << 20, limit: 133 << 20 });
    let told = wall(&facts).unwrap();
    assert!(told.name == names::MEMORY && told.evidence.contains("130 MiB of the 133 MiB"), "{told:?}");
}

#[test]
fn prefork_ends_at_its_processes() {
    let short = report(16, &[("not_accepted", 84)]);
    let mut facts = facts(Model::Prefork, Some(&short));
    facts.workers = Some(16);
    let wall = wall(&facts).unwrap();
    assert_eq!(wall.name, PREFORK);
    assert!(wall.evidence.contains("84 wait"), "{}", wall.evidence);
}

#[test]
fn a_child_that_ended_is_named_with_its_last_words() {
    let mut facts = facts(Model::Poll, None);
    facts.loader_status = Some(ExitStatus::from_raw(3 << 8));
    facts.loader_said = Some("no connection came about".to_owned());
    let loader = wall(&facts).unwrap();
    assert_eq!(loader.name, LOADER_ENDED);
    assert!(loader.evidence.contains("code 3") && loader.evidence.contains("no connection came about"));
    facts.server_ended = Some(Ended::Waited(ExitStatus::from_raw(9)));
    assert_eq!(name(wall(&facts)), SERVER_ENDED);
    facts.oom_kills = 1;
    assert_eq!(name(wall(&facts)), names::MEMORY);
    facts.server_ended = Some(Ended::Waited(ExitStatus::from_raw(6)));
    assert_eq!(name(wall(&facts)), SERVER_ENDED, "nobody killed it");
    facts.server_said = vec!["memory allocation of 512 bytes failed".to_owned()];
    let told = wall(&facts).unwrap();
    assert!(told.name == names::MEMORY && told.evidence.contains("512 bytes"), "{told:?}");
}

#[test]
fn what_nothing_explains_is_told_with_everything_that_was_read() {
    let short = report(90, &[("timeout", 10)]);
    let wall = wall(&facts(Model::EpollEt, Some(&short))).unwrap();
    assert_eq!(wall.name, UNEXPLAINED);
    assert!(wall.evidence.contains("90 of 100") && wall.evidence.contains("timeout 10"), "{}", wall.evidence);
}

#[test]
fn a_machine_that_others_use_up_is_named_only_when_nothing_else_explains() {
    let short = report(90, &[("timeout", 10)]);
    let mut facts = facts(Model::EpollEt, Some(&short));
    facts.others_cpu = Some(0.9);
    assert_eq!(name(wall(&facts)), UNEXPLAINED, "less than half of two cores");
    facts.others_cpu = Some(1.7);
    let told = wall(&facts).unwrap();
    assert_eq!(told.name, BUSY_MACHINE);
    assert!(told.evidence.contains("1.7 of 2 cores") && told.evidence.contains("90 of 100"), "{told:?}");
    facts.marks.seen = Some(Wall::new(names::MEMORY, "MemAvailable is 1 MiB", "more"));
    assert_eq!(name(wall(&facts)), names::MEMORY);
    facts.marks.seen = None;
    facts.report = None;
    assert_eq!(name(wall(&facts)), BUSY_MACHINE, "the loader gave no result for the same reason");
}

#[test]
fn a_full_core_or_the_loader_bounds_the_rate_but_ends_nothing() {
    let held = report(100, &[]);
    let mut facts = facts(Model::EpollEt, Some(&held));
    assert_eq!(limit(&facts), None);
    facts.server_cpu = Some(0.97);
    assert_eq!(name(limit(&facts)), names::CORE);
    assert_eq!(wall(&facts), None);
    (facts.server_cpu, facts.server_softirq) = (Some(0.8), 0.15);
    let full = limit(&facts).unwrap();
    assert!(full.name == names::CORE && full.evidence.contains("0.15 more"), "{}", full.evidence);
    (facts.server_cpu, facts.server_softirq) = (Some(0.6), 0.0);
    facts.shared = true;
    let shared = limit(&facts).unwrap();
    assert!(shared.evidence.contains("share one core"), "{}", shared.evidence);
    let limited = LoadReport { loader_limited: true, loader_cpu: Some(0.99), ..report(100, &[]) };
    let facts = Facts { shared: false, ..self::facts(Model::EpollEt, Some(&limited)) };
    assert_eq!(name(limit(&facts)), names::LOADER);
}

#[test]
fn a_foreign_server_has_its_own_word_and_may_be_hidden() {
    let short = report(512, &[("closed_early", 488)]);
    let mut facts = Facts { model: None, ..facts(Model::Poll, Some(&short)) };
    facts.asked = 1_000;
    facts.server_said = vec!["2026 [alert] 512 worker_connections are not enough".to_owned()];
    let told = wall(&facts).unwrap();
    assert_eq!(told.name, OWN_LIMIT);
    assert!(
        told.evidence.contains("512 of 1,000") && told.evidence.contains("worker_connections"),
        "{told:?}"
    );
    facts.server_said.clear();
    assert_eq!(name(wall(&facts)), UNEXPLAINED, "no descriptors were seen");
    facts.marks.descriptors_in_all = 530;
    assert_eq!(name(wall(&facts)), OWN_LIMIT, "it never had a thousand open");
    facts.marks.descendants = 500;
    assert_eq!(name(wall(&facts)), UNEXPLAINED, "its children may have them");
    facts.server_said = vec!["too many clients".to_owned()];
    facts.model = Some(Model::Poll);
    assert_ne!(name(wall(&facts)), OWN_LIMIT, "our own servers have no such setting");
    // Another user's: its CPU is not known, what the loader says of itself is.
    let limited = LoadReport { loader_limited: true, ..report(100, &[]) };
    let hidden = Facts { model: None, server_cpu: None, ..self::facts(Model::Poll, Some(&limited)) };
    assert_eq!(name(limit(&hidden)), names::LOADER);
}
