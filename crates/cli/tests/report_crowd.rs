//! `duolu report` of a climb: what `make million` writes, whole, cut and hostile.

mod report_support;

use report_support::*;
use serde_json::{Value, json};
use std::fs;

fn rung(model: &str, workers: u64, asked: u64, held: u64) -> Value {
    let wall = json!({"name": "memory", "evidence": "the loader stopped at 30,000 connections", "fix": "more memory",
        "case": "memory_floor", "facts": {"who": "the loader", "held": 30_000, "available": 1u64 << 30,
            "floor": 1u64 << 30, "setting": "DUOLU_KEEP_FREE"}});
    json!({
        "server": {"schema": 1, "model": model, "workers": workers, "processes": workers > 1},
        "load": {
            "schema": 1, "speak": "echo", "mode": "sampled", "connections": asked, "established": held, "errors": {},
            "payload_bytes": 64, "active": 1, "duration_s": 5.0, "connects_per_s": 28_167.5, "p50_us": 68.5,
            "p99_us": 135.25, "wall": if held < asked { wall } else { Value::Null },
            "crowd": {
                "rings": asked / 20_000 + 1, "replies": 70_000, "climbing_p50_us": 80.0, "climbing_p99_us": 400.0,
                "server_rss_bytes": 10_000_000 + held * 80, "kernel_bytes_per_connection": 9_400,
                "memory_before_bytes": 24u64 << 30, "memory_during_bytes": 15u64 << 30,
                "memory_after_bytes": 24u64 << 30, "back_s": 12.4,
                "machine": {"duolu": "0.1.0", "kernel": "6.1.0-test", "cpus": 2, "limits": {"nofile": 20_000}},
            },
        },
    })
}

fn climb(rungs: &[Value]) -> Value {
    json!({"schema": 1, "kind": "crowd", "complete": true, "results": rungs})
}

fn two_servers() -> Value {
    climb(&[
        rung("io_uring", 1, 10_000, 10_000),
        rung("io_uring", 1, 1_000_000, 1_000_000),
        rung("epoll-lt", 1, 10_000, 10_000),
        rung("epoll-lt", 57, 1_000_000, 1_000_000),
    ])
}

#[test]
fn a_climb_is_one_sound_file_in_both_languages() {
    let folder = Folder::new("crowd");
    let html = page(&folder.file("result.json", two_servers().to_string()), &[]);
    let elements = elements(&html);
    let charts = |class: &str| {
        let svg = elements.iter().filter(|(name, _)| name == "svg");
        svg.filter(|(_, rest)| attribute(rest, "class") == Some(&format!("chart {class}"))).count()
    };
    // In each language: memory wide and narrow; bytes of one, connects, round trips.
    assert_eq!([charts("wide"), charts("narrow"), charts("small")], [2, 2, 6]);
    let (en, zh) = (of(&html, "en"), of(&html, "zh-CN"));
    for words in [
        "1,000,000 connections held: io_uring in one process, epoll-lt in 57 processes",
        "Sampled: one connection at a time",
        "far beyond its 20,000 descriptors",
        "epoll-lt held 1,000,000 connections in 57 processes",
        "each within its 20,000 descriptors",
        "All 280,000 replies",
        "round trip p99\t135",
        "Linux 6.1.0-test",
    ] {
        assert!(en.contains(words), "{words}");
    }
    for words in [
        "承载 1,000,000 个连接：io_uring 用 1 个进程、epoll-lt 用 57 个进程",
        "抽样：每次只有一个连接",
        "内核",
    ] {
        assert!(zh.contains(words), "{words}");
    }
    let one = page(&folder.file("one.json", climb(&[rung("io_uring", 1, 500, 500)]).to_string()), &[]);
    assert!(of(&one, "en").contains("500 connections held by one process"));
    assert!(!of(&one, "en").contains("beyond its"), "500 are within them");
    for bad in ["NaN", "inf", "None", "undefined"] {
        assert!(!en.contains(&format!(">{bad}")) && !one.contains(&format!(">{bad}")), "{bad}");
    }
}

#[test]
fn a_line_that_met_its_wall_ends_in_a_cross_and_the_wall_is_told() {
    let folder = Folder::new("crowd-wall");
    let value = climb(&[rung("io_uring", 1, 10_000, 10_000), rung("io_uring", 1, 100_000, 30_000)]);
    let html = page(&folder.file("result.json", value.to_string()), &[]);
    let wide = html.split("<svg class=\"chart wide\"").nth(1).and_then(|svg| svg.split("</svg>").next());
    let wide = wide.expect("the picture");
    assert_eq!(wide.matches("class=\"x\"").count(), 2, "the kernel's line and the server's");
    let (en, zh) = (of(&html, "en"), of(&html, "zh-CN"));
    assert!(en.contains("Stopped by “memory”: io_uring at 30,000 of 100,000."));
    assert!(en.contains("30,000 connections held by one process"), "what was held is what counts");
    assert!(
        zh.contains("被“内存不足”挡住") && zh.contains("压测端在 30,000 个连接处停下"),
        "in its own words"
    );
}

#[test]
fn the_table_for_spreadsheets_and_the_files_beside_it() {
    let folder = Folder::new("crowd-csv");
    let path = folder.file("result.json", two_servers().to_string());
    let csv = folder.0.join("result.csv");
    let output = report(&[&folder.0, &"--csv", &csv]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(folder.0.join("report.html").is_file() && path.is_file());
    let text = fs::read_to_string(csv).expect("the table");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    let of = |row: usize, name: &str| rows[row][rows[0].iter().position(|head| *head == name).expect(name)];
    assert_eq!((of(4, "model"), of(4, "processes"), of(4, "established")), ("\"epoll-lt\"", "57", "1000000"));
    assert_eq!(
        (of(2, "kernel_bytes_per_connection"), of(2, "p99_us"), of(2, "wall")),
        ("9400", "135.25", "")
    );
}

#[test]
fn what_is_missing_cut_or_hostile_is_told() {
    let folder = Folder::new("crowd-bad");
    let evil = "<script>alert(1)</script>\"'\u{202e}";
    let mut bad = rung(evil, 3, 100, 40);
    bad["load"]["wall"] = json!({"name": evil, "evidence": evil, "fix": evil});
    bad["load"]["crowd"]["machine"] = json!({ "cpu_model": evil, evil: [evil], "noisy": evil });
    bad["load"]["errors"] = json!({"wrong_bytes": 7});
    let bare = json!({"server": {}, "load": {"connections": 5, "established": 5}});
    let html = page(&folder.file("evil.json", climb(&[bad, bare, json!({"load": {}})]).to_string()), &[]);
    let scripts = elements(&html).iter().filter(|(name, _)| name == "script").count();
    assert_eq!(scripts, 1, "only our own");
    let en = of(&html, "en");
    assert!(
        en.contains("7 replies were not what was sent") && en.contains("1 rungs could not be read"),
        "{en}"
    );

    let whole = two_servers().to_string();
    let cut = folder.file("cut.json", &whole[..whole.len() - 400]);
    let output = report(&[&cut, &"-o", &folder.0.join("cut.html")]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let html = fs::read_to_string(folder.0.join("cut.html")).expect("the part");
    assert!(of(&html, "en").contains("only its 3 whole rungs are shown"));

    let (old, new) = (folder.file("old.json", result(vec![]).to_string()), folder.file("new.json", &whole));
    for (one, other) in [(&new, &old), (&old, &new)] {
        let output = report(&[one, &"--against", other, &"-o", &"-"]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("climb"), "{}", said(&output));
    }
    let output = report(&[&old, &"--csv", &"-", &"-o", &folder.0.join("old.html")]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}
