//! The page's words: both languages say the same, wall for wall and notice for notice.

mod report_support;

use report_support::*;
use serde_json::{Value, json};

#[test]
fn every_model_and_wall_is_named_in_both_languages() {
    let folder = Folder::new("both");
    let html = page(&folder.file("result.json", whole().to_string()), &[]);
    let (en, zh) = (of(&html, "en"), of(&html, "zh-CN"));
    for model in MODELS {
        assert!(
            en.contains(&format!("<bdi>{model}</bdi>")) && zh.contains(&format!("<bdi>{model}</bdi>")),
            "{model}"
        );
    }
    for (wall, chinese) in WALLS {
        assert!(en.contains(&format!("</span>{wall}</h3>")), "{wall}");
        assert!(zh.contains(&format!("</span>{chinese}</h3>")), "{chinese}");
        assert!(en.contains(&format!("fix of {wall}")) && zh.contains(&format!("fix of {wall}")), "{wall}");
    }
    for part in
        ["6.1.0-test", "A Processor", "23.5 GiB", "no select here", "how it was counted", "read at 40"]
    {
        assert!(en.contains(part) && zh.contains(part), "{part}");
    }
}

/// A wall as this version writes it: the English, and the numbers behind it.
fn told(name: &str, case: &str, facts: Value) -> Value {
    json!({"name": name, "evidence": "in English", "fix": "fix it so", "case": case, "facts": facts})
}

#[test]
fn evidence_and_fix_are_said_in_the_language_of_the_page() {
    let folder = Folder::new("facts");
    let full = json!({"pid": 4711, "process": "nginx", "used": 1_017, "limit": 1_024, "waiting": 128});
    let mut cells =
        vec![stopped("poll", 100, 40, "x"), stopped("select", 100, 40, "x"), cell("fork", 100, 900.0)];
    cells[0]["wall"] = told("server descriptor limit", "open_files", full);
    cells[0]["errors_by_kind"] = json!({"not_accepted": 60});
    cells[2]["limited_by"] =
        told("loader limited", "loader_limited", json!({"loader": 0.97, "server": 0.5, "cores": 1}));
    // Another version's words, and facts that are not all there: the English stays.
    cells[1]["wall"] = told("accept queue", "of_tomorrow", json!({"limit": 1}));
    cells.push(stopped("epoll-et", 100, 40, "x"));
    cells[3]["wall"] = told("accept queue", "queue_full", json!({"waiting": "many"}));
    let html = page(&folder.file("result.json", result(cells).to_string()), &[]);
    let (en, zh) = (of(&html, "en"), of(&html, "zh-CN"));
    assert!(en.contains("in English") && en.contains("fix it so") && en.contains("not accepted 60"));
    for sentence in [
        "服务器（进程 4711，nginx）已打开 1,017 个描述符，上限是 1,024（RLIMIT_NOFILE）",
        "prlimit --pid 4711 --nofile=65536）",
        "压测端用了一个核心的 0.97，服务器用了 1 个核心中的 0.50",
        "这个速率只是下限",
        "<small>未被 accept 60</small>",
        "<p class=\"evidence\" lang=\"en\"><b><bdi>select</bdi></b> in English</p>",
    ] {
        assert!(zh.contains(sentence), "{sentence}");
    }
    assert_eq!(zh.matches("in English").count(), 1, "the accept queue's, once: both say the same");
    assert!(zh.contains("加长队列"), "what always helps, beside the fix in English");
}

#[test]
fn noise_pinning_and_methods_are_said_in_chinese() {
    let folder = Folder::new("said");
    let mut value = result(vec![cell("poll", 100, 900.0)]);
    value["machine"]["noisy"] = json!("others kept 1.2 cores busy just before the run");
    value["machine"]["busy_before"] = json!(1.2);
    value["machine"]["placement"]["refused"] = json!("Operation not permitted (os error 1)");
    value["asked"]["mixes"] = json!(["all", "churn"]);
    let html = page(&folder.file("result.json", value.to_string()), &[]);
    let zh = of(&html, "zh-CN");
    for sentence in [
        "机器不安静：开始之前，其他程序占用了 1.2 个核心。",
        "未能绑定各自的处理器：没有权限（Operation not permitted (os error 1)）。",
        "所有连接都活跃、每个请求新建一个连接",
    ] {
        assert!(zh.contains(sentence), "{sentence}");
    }
    assert!(!zh.contains("others kept"));
    assert!(of(&html, "en").contains("Noisy machine: others kept 1.2 cores busy just before the run."));
}
