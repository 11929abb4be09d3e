//! `duolu report` as a person runs it: results that are whole, cut, foreign or hostile, and the pages made of them.

mod report_support;

use report_support::*;
use serde_json::{Value, json};
use std::fs;

#[test]
fn the_page_is_one_sound_file_without_a_network() {
    let folder = Folder::new("sound");
    let html = page(&folder.file("result.json", whole().to_string()), &[]);
    for address in ["http://", "https://", "url(", "@import", "src=", "href=", "fetch(", "XMLHttp"] {
        assert!(!html.contains(address), "{address}");
    }
    assert!(html.contains("Content-Security-Policy\" content=\"default-src 'none';"));
    let elements = elements(&html);
    let mut ids: Vec<&str> = elements.iter().filter_map(|(_, rest)| attribute(rest, "id")).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an id is there once");
    let images: Vec<&str> =
        elements.iter().filter(|(name, _)| name == "svg").map(|(_, rest)| rest.as_str()).collect();
    let charts = images.iter().filter(|svg| svg.contains("class=\"chart")).count();
    // For each language: the ladder wide and narrow, three multiples, a distribution for each rung.
    assert_eq!(charts, 2 * (2 + 3 + 2));
    for svg in images {
        let named =
            attribute(svg, "aria-labelledby").map(|names| names.split(' ').all(|name| ids.contains(&name)));
        let text =
            named.unwrap_or(false) || svg.contains("aria-label=\"") || svg.contains("aria-hidden=\"true\"");
        assert!(text, "a picture has a text alternative: {svg}");
    }
    for bad in ["NaN", "inf", "null", "None"] {
        let bare =
            |part: &str| [" ", "\"", ">"].iter().any(|before| part.contains(&format!("{before}{bad} ")));
        assert!(!bare(&of(&html, "en")) && !bare(&of(&html, "zh-CN")), "{bad}");
    }
}

#[test]
fn lines_end_in_a_cross_and_differ_by_more_than_colour() {
    let folder = Folder::new("cross");
    let cells = vec![
        cell("poll", 100, 900.0),
        stopped("poll", 1_000, 400, "accept queue"),
        cell("epoll-et", 100, 800.0),
        cell("epoll-et", 1_000, 7_000.0),
    ];
    let html = page(&folder.file("result.json", result(cells).to_string()), &[]);
    let ladder = html.split("<svg class=\"chart wide\"").nth(1).and_then(|svg| svg.split("</svg>").next());
    let ladder = ladder.expect("the ladder");
    assert_eq!(ladder.matches("class=\"x\"").count(), 1, "one line ends at a wall");
    assert!(ladder.contains("✕ accept queue"));
    assert!(ladder.contains("held 400"), "the pointer is told how many it held");
    let dashes: Vec<&str> =
        ladder.split("stroke-dasharray=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(dashes.len(), 2);
    assert_ne!(dashes[0], dashes[1]);
    assert!(ladder.contains("ends at 400 of 1,000: accept queue"), "the text alternative tells it as well");
}

#[test]
fn what_a_file_says_stays_text() {
    let folder = Folder::new("escape");
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{1b}]0;x\u{7}\u{202e}";
    let mut bad = stopped(evil, 100, 3, evil);
    bad["errors_by_kind"] = json!({ evil: 5 });
    bad["limited_by"] = json!({"name": evil, "evidence": evil, "fix": evil});
    bad["mix"] = json!(evil);
    let mut value = result(vec![bad.clone(), bad]);
    value["machine"]["cpu_model"] = json!(evil);
    value["machine"]["noisy"] = json!(evil);
    value["machine"][evil] = json!({ evil: [evil] });
    value["asked"]["service"] = json!(evil);
    value["unavailable"] = json!({ evil: evil });
    value["methods"] = json!({ evil: evil });
    let path = folder.file("result.json", value.to_string());
    let html = page(&path, &["--against", path.to_str().expect("UTF-8")]);
    let elements = elements(&html);
    assert_eq!(elements.iter().filter(|(name, _)| name == "script").count(), 1, "only our own script");
    assert!(elements.iter().all(|(name, _)| name != "img"));
    assert!(elements.iter().all(|(_, rest)| !rest.to_ascii_lowercase().contains("onerror=alert") || rest.contains("&lt;img")));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "it is shown as it is");
    assert!(!html.contains(['\u{1b}', '\u{7}', '\u{202e}']));
}

#[test]
fn what_is_no_result_is_refused_in_a_sentence() {
    let folder = Folder::new("refused");
    let cases: [(&str, &[u8], i32, &str); 9] = [
        ("empty.json", b"", 2, "the file is empty"),
        ("text.json", b"hello", 2, "this is no JSON"),
        ("list.json", b"[1, 2]", 2, "it is no object"),
        ("other.json", b"{\"a\": 1}", 2, "no result of duolu compare"),
        ("newer.json", b"{\"schema\": 9, \"results\": []}", 2, "schema 9"),
        ("load.json", b"{\"schema\": 1, \"histogram\": \"\"}", 2, "a result of duolu load"),
        ("bytes.json", b"{\"schema\": \xff\xfe}", 2, "no UTF-8"),
        ("cut.json", b"{\"schema\": 1, \"machine\": {\"ker", 3, "cut short"),
        ("none.json", b"{\"schema\": 1, \"results\": [{\"model\": \"fo", 3, "cut short"),
    ];
    for (name, content, code, sentence) in cases {
        let path = folder.file(name, content);
        let out = folder.0.join("out.html");
        let output = report(&[&path, &"-o", &out]);
        assert_eq!(output.status.code(), Some(code), "{name}: {}", said(&output));
        assert!(
            said(&output).contains(sentence) && said(&output).contains(name),
            "{name}: {}",
            said(&output)
        );
        assert!(!out.exists(), "{name}: nothing is written");
    }
    let output = report(&[&folder.0.join("not-there.json")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("cannot read"), "{}", said(&output));
    let whole = folder.file("result.json", whole().to_string());
    let output = report(&[&whole, &"-o", &folder.0.join("no/such/folder/x.html")]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("cannot write"), "{}", said(&output));
}

#[test]
fn of_a_cut_result_the_whole_cells_are_kept_and_marked() {
    let folder = Folder::new("cut");
    let text = serde_json::to_string_pretty(&result(vec![
        cell("poll", 100, 900.0),
        cell("epoll-et", 100, 800.0),
        cell("io_uring", 100, 700.0),
    ]))
    .expect("JSON");
    let cut = &text[..text.find("io_uring").expect("the last cell")];
    let path = folder.file("result.json", cut);
    let output = report(&[&path]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        said(&output).contains("cut short") && said(&output).contains("2 whole cells"),
        "{}",
        said(&output)
    );
    let html = fs::read_to_string(folder.0.join("report.html")).expect("the part is written");
    assert!(
        html.contains("<bdi>poll</bdi>")
            && html.contains("<bdi>epoll-et</bdi>")
            && !html.contains("io_uring</bdi>")
    );
    assert!(html.contains("The result file is cut short") && html.contains("结果文件不完整"));
}

#[test]
fn interrupted_noisy_and_partial_results_say_so() {
    let folder = Folder::new("marked");
    let mut noisy = cell("poll", 100, 900.0);
    noisy["others_cpu"] = json!(1.3);
    noisy["loader_limited"] = json!(true);
    let mut value = result(vec![noisy, json!({"model": "lost its connections"})]);
    value["interrupted"] = json!(true);
    value["complete"] = json!(false);
    value["machine"]["placement"]["shared"] = json!(true);
    let html = page(&folder.file("result.json", value.to_string()), &[]);
    for (en, zh) in [
        ("Interrupted: this is only a part", "测量被中断"),
        ("Noisy machine: other programs used up to 1.3 cores", "机器不安静"),
        ("Server and loader shared one processor", "共用一个处理器"),
        ("In 1 of 1 cells the loader was the limit", "受限于压测端"),
        ("1 cell has no model", "1 组数据缺少模型"),
        ("Each cell was measured once", "每组只测了一次"),
    ] {
        assert!(of(&html, "en").contains(en), "{en}");
        assert!(of(&html, "zh-CN").contains(zh), "{zh}");
    }
    let quiet = page(&folder.file("quiet.json", result(vec![cell("poll", 100, 900.0)]).to_string()), &[]);
    assert!(!quiet.contains("Noisy") && !quiet.contains("Interrupted"));
    let nothing = page(&folder.file("nothing.json", result(vec![]).to_string()), &[]);
    assert!(nothing.contains("Nothing was measured") && nothing.contains("没有测到任何数据"));
    elements(&nothing);
}

#[test]
fn two_results_are_laid_over_each_other_and_judged_by_their_spread() {
    let folder = Folder::new("against");
    let repeated = |rate: f64, spread: f64| {
        let mut cell = cell("poll", 100, 900.0);
        cell["rate"] = json!(rate);
        cell["repeats"] = json!(5);
        cell["spread"] = json!(spread);
        cell
    };
    let old =
        folder.file("old.json", result(vec![repeated(100_000.0, 0.03), cell("fork", 100, 50.0)]).to_string());
    let old = old.to_str().expect("UTF-8");
    let judged = |cell: Value, name: &str| {
        let html = page(&folder.file(name, result(vec![cell]).to_string()), &["--against", old]);
        of(&html, "en")
    };
    let better = judged(repeated(120_000.0, 0.03), "better.json");
    assert!(better.contains("<td class=\"better\"") && better.contains("+20 %"));
    assert!(better.contains("1 better, 0 worse"));
    assert!(better.contains("Only in the old result: fork 100"));
    assert!(better.contains(" pale\" data-s=\"poll\""), "the old line lies behind");
    assert!(judged(repeated(80_000.0, 0.03), "worse.json").contains("<td class=\"worse\""));
    let within = judged(repeated(102_000.0, 0.03), "within.json");
    assert!(within.contains("<td class=\"within\"") && within.contains("1 within the spread"));
    let once = judged(cell("poll", 100, 900.0), "once.json");
    assert!(once.contains("one repeat cannot tell") && !once.contains("<td class=\"better\""));
    let moved = judged(stopped("poll", 100, 60, "accept queue"), "moved.json");
    assert!(moved.contains("held → ✕ accept queue") && moved.contains("1 wall moved"));
    let other = folder.file("bad.json", "{}");
    let output = report(&[&folder.0.join("better.json"), &"--against", &other]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("bad.json"), "{}", said(&output));
}

#[test]
fn the_page_opens_in_the_language_that_was_asked_for() {
    let folder = Folder::new("lang");
    let path = folder.file("result.json", whole().to_string());
    let html = page(&path, &["--lang", "zh"]);
    assert!(html.contains("<html lang=\"zh-CN\" data-ask=\"file\">"));
    assert!(html.contains("id=\"lang-zh\" class=\"lang\" checked"));
    let html = page(&path, &[]);
    assert!(html.contains("data-ask=\"reader\"") && html.contains("id=\"lang-en\" class=\"lang\" checked"));
    let output = report(&[&folder.0]);
    assert!(
        output.status.success() && folder.0.join("report.html").is_file(),
        "a folder holds its result.json"
    );
    let left: Vec<_> =
        fs::read_dir(&folder.0).expect("the folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "no part is left behind: {left:?}");
}

#[test]
fn sampled_figures_are_marked_and_never_laid_beside_full_ones() {
    let folder = Folder::new("sampled");
    let new = result(vec![
        cell("poll", 1_000, 9_000.0),
        sampled("poll", 30_000, 70.0),
        cell("fork", 1_000, 5_000.0),
    ]);
    let mut old = result(vec![cell("poll", 1_000, 9_000.0), cell("poll", 30_000, 90_000.0)]);
    for at in 0..2 {
        old["results"][at]["repeats"] = json!(5);
    }
    let (new, old) = (folder.file("new.json", new.to_string()), folder.file("old.json", old.to_string()));
    let html = page(&new, &["--against", old.to_str().expect("UTF-8")]);
    let (en, zh) = (of(&html, "en"), of(&html, "zh-CN"));
    assert!(en.contains("From 30,000 connections on (°) the loader has fewer descriptors"), "{en}");
    assert!(zh.contains("从 30,000 个连接起（°）"));
    let wide = en.split("<svg class=\"chart wide\"").nth(1).and_then(|svg| svg.split("</svg>").next());
    let wide = wide.expect("the ladder");
    assert!(wide.contains("data-s=\"poll °\"") && wide.contains("dot hollow"), "a line of its own, hollow");
    assert!(en.contains("70.0 µs°"), "marked in the table");
    assert!(en.contains("least p99 latency (sampled)"), "and at a glance");
    let changed =
        en.split("What changed").nth(1).and_then(|rest| rest.split("<h2>").next()).expect("the changes");
    assert!(!changed.contains("70.0 µs"), "a sampled latency is no change of a full one: {changed}");
}
