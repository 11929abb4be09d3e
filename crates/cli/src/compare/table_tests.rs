use super::*;
use crate::compare::{samples, story};
use crate::model::Model;

fn plain(report: &Report) -> String {
    render(report, Style { color: false, width: WIDEST })
}

#[test]
fn a_narrow_terminal_has_a_table_for_each_rung_that_fits() {
    let mut report = samples::report();
    report.shows = story::tell(&report);
    for (width, tables) in [(80, 2), (60, 3), (20, 3)] {
        let text = render(&report, Style { color: false, width });
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width.max(NAME + BETWEEN + GROUP), "{widest} of {width}: {text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("epoll-et")).count(), tables, "{text}");
    }
}

#[test]
fn the_table_fits_its_width_and_ends_each_line_at_its_wall() {
    let mut report = samples::report();
    report.shows = story::tell(&report);
    let text = plain(&report);
    for line in text.lines() {
        assert!(line.chars().count() <= WIDEST, "{} characters: {line}", line.chars().count());
        assert_eq!(line, line.trim_end());
    }
    let prefork = text.lines().find(|line| line.starts_with("prefork")).unwrap();
    assert!(prefork.ends_with("■ more connections than processes (held 8)"), "{prefork}");
    assert_eq!(text.matches("fix: an event loop").count(), 1);
    assert!(text.contains("5,000 connections") && text.contains("What this shows"));
    assert!(!text.contains('\x1b'));
    assert!(render(&report, Style { color: true, width: WIDEST }).contains("\x1b[1;32m"));
}

#[test]
fn a_wall_at_the_last_rung_still_fits() {
    let mut report = samples::report();
    let last = report.results.last_mut().unwrap();
    last.wall = Some(Wall::new(names::SERVER_DESCRIPTORS, "1,024 of 1,024", "ulimit -n 65536"));
    last.established = 1_017;
    let text = plain(&report);
    let row = text.lines().find(|line| line.starts_with("epoll-et")).unwrap();
    assert!(row.ends_with("■ server descriptor limit"), "{row}");
    assert!(row.chars().count() <= WIDEST);
    assert!(text.contains("epoll-et at 5,000 (held 1,017)"));
}

#[test]
fn many_rungs_make_several_blocks() {
    let mut report = samples::report();
    report.asked.connections = vec![100, 200, 300, 400];
    report.results =
        report.asked.connections.iter().map(|rung| samples::cell(Model::EpollEt, *rung, 1e5)).collect();
    let text = plain(&report);
    assert_eq!(text.lines().filter(|line| line.starts_with("epoll-et")).count(), 2);
}

#[test]
fn the_story_says_what_the_cells_say() {
    let report = samples::report();
    let told = story::tell(&report).join("\n");
    assert!(told.contains("Held all 5,000 connections: fork, epoll-et."), "{told}");
    assert!(told.contains("Stopped by \"more connections than processes\": prefork at 8 of 100."), "{told}");
    assert!(
        told.contains("epoll-et answered 60.0k messages a second and fork 15.0k: 4.0 times fewer."),
        "{told}"
    );
    assert!(told.contains("fork kept 36 % of its rate, epoll-et 58 %"), "{told}");
}

#[test]
fn each_mix_has_its_own_block_and_long_names_their_column() {
    let mut report = samples::report();
    let own = "an-own-echo-server";
    report.asked.models.push(own.to_owned());
    for (mix, rate) in [(Mix::All, 70_000.0), (Mix::Churn, 9_000.0)] {
        let cell = samples::cell(Model::Poll, 5_000, rate);
        report.results.push(Cell { model: own.to_owned(), mix, ..cell });
    }
    report.shows = story::tell(&report);
    let text = plain(&report);
    assert!(text.contains("\necho of 64 bytes, a connection for each request\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with(own)).count(), 2);
    assert!(text.lines().all(|line| line.chars().count() <= WIDEST), "{text}");
    assert!(text.contains("churn, 64 B: an-own-echo-server held all 5,000 connections."), "{text}");
}

#[test]
fn a_window_without_an_answer_says_why() {
    let mut report = samples::report();
    let silent = &mut report.results[2];
    silent.rate = None;
    silent.limited_by = Some(Wall::new(NO_ANSWER, "a round took longer than the window of 0.3 s", "-d 10s"));
    let text = plain(&report).replace('\n', " ");
    assert!(text.contains("! no figure for fork at 5,000: a round took longer"), "{text}");
}

#[test]
fn noise_and_wide_spreads_are_told() {
    let mut report = samples::report();
    report.machine.noisy = Some("others kept 1.2 cores busy just before the run".to_owned());
    report.results[0].spread = Some(0.3);
    let told = story::tell(&report).join("\n");
    assert!(told.contains("A noisy machine: others kept 1.2 cores busy just before the run."), "{told}");
    assert!(told.contains("In 1 of 7 cells the repeats were more than 20 % apart"), "{told}");
    report.results[1].others_cpu = Some(0.8);
    let told = story::tell(&report).join("\n");
    assert!(told.contains("other programs used up to 0.8 cores meanwhile (1 of 7 cells)"), "{told}");
}
