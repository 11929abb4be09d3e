//! The parts of the page that are text: the figures at a glance, the walls, the table, the provenance.

use super::figures::{self, whole};
use super::findings::{extremes, top};
use super::lang::Lang;
use super::look::Look;
use super::markup::escape;
use super::run::{Cell, Figure, Run, Wall, Work};
use super::words;
use serde_json::Value;
use std::fmt::Write;

/// A model's name with its marker, as the charts draw it.
pub fn named(model: &str, looks: &[(String, Look)]) -> String {
    let key = looks.iter().find(|(name, _)| name == model).map_or(String::new(), |(_, look)| {
        format!(
            "<svg class=\"key {}\" viewBox=\"0 0 28 12\" aria-hidden=\"true\"><path class=\"l\" stroke-dasharray=\"{}\" d=\"M1 6H27\"/><path class=\"dot\" d=\"{}\"/></svg>",
            look.class,
            look.dash,
            look.marker.path((14.0, 6.0), 3.8)
        )
    });
    format!("<span class=\"model\">{key}<bdi>{}</bdi></span>", escape(model))
}

/// All lines and what they look like.
pub fn legend(lang: Lang, models: &[&str], looks: &[(String, Look)]) -> String {
    let mut html = "<ul class=\"legend\">".to_owned();
    for model in models {
        let what =
            words::model(lang, model).map_or(String::new(), |what| format!(" title=\"{}\"", escape(what)));
        let _ = write!(html, "<li data-s=\"{}\"{what}>{}</li>", escape(model), named(model, looks));
    }
    html + "</ul>\n"
}

/// The best of each figure at the highest rung, beside the worst.
pub fn tiles(lang: Lang, run: &Run, work: &Work, looks: &[(String, Look)]) -> String {
    let (rung, held) = top(run, work);
    let all = run.models().into_iter().filter(|model| !run.line(work, model).is_empty()).count();
    let mut html = "<div class=\"tiles\">".to_owned();
    let connections = lang.connections(rung);
    let (label, of) = match lang {
        Lang::En => (format!("held {connections}"), format!("of {all}")),
        Lang::Zh => (format!("承载了 {connections}"), format!("共 {all} 个")),
    };
    let _ = write!(
        html,
        "<div class=\"tile\"><p class=\"what\">{}</p><p class=\"value\">{} <small>{}</small></p></div>",
        escape(&label),
        held.len(),
        escape(&of)
    );
    for figure in [Figure::Rate, Figure::P99, Figure::Cpu, Figure::Memory] {
        let Some([(best, cell), (worst, other)]) = extremes(&held, figure) else { continue };
        let form = figure.form();
        let bound = if figure == Figure::Rate && cell.loader_limited() { "≥ " } else { "" };
        let beside = if other.model == cell.model {
            String::new()
        } else {
            format!("<p class=\"beside\"><bdi>{}</bdi> {}</p>", escape(&other.model), form(worst))
        };
        let label = match (lang, figure.more_is_better()) {
            (Lang::En, true) => format!("most {}", words::figure(lang, figure)),
            (Lang::En, false) => format!("least {}", words::figure(lang, figure)),
            (Lang::Zh, true) => format!("{}最高", words::figure(lang, figure)),
            (Lang::Zh, false) => format!("{}最低", words::figure(lang, figure)),
        };
        let _ = write!(
            html,
            "<div class=\"tile\"><p class=\"what\">{label}</p><p class=\"value\">{bound}{}</p><p class=\"who\">{}</p>{beside}</div>",
            form(best),
            named(&cell.model, looks)
        );
    }
    html + "</div>\n"
}

/// Each wall once: what it means, who met it, what was read, what moves it.
pub fn walls(lang: Lang, run: &Run, looks: &[(String, Look)]) -> String {
    let mut ends: Vec<(&str, Vec<(&Cell, &Wall)>)> = Vec::new();
    let mut bounds = ends.clone();
    for cell in &run.cells {
        for (wall, list) in [(&cell.wall, &mut ends), (&cell.limited_by, &mut bounds)] {
            let Some(wall) = wall else { continue };
            match list.iter_mut().find(|(name, _)| *name == wall.name) {
                Some((_, met)) => met.push((cell, wall)),
                None => list.push((&wall.name, vec![(cell, wall)])),
            }
        }
    }
    let mut html = String::new();
    for (name, met) in &ends {
        html.push_str(&wall(lang, name, met, looks, true));
    }
    for (name, met) in &bounds {
        html.push_str(&wall(lang, name, met, looks, false));
    }
    html
}

fn wall(lang: Lang, name: &str, met: &[(&Cell, &Wall)], looks: &[(String, Look)], ends: bool) -> String {
    let mut html = format!(
        "<article class=\"wall\"><h3><span class=\"mark\" aria-hidden=\"true\">{}</span>{}</h3>",
        if ends { "✕" } else { "▔" },
        escape(words::wall(lang, name))
    );
    if lang == Lang::Zh && words::wall(lang, name) != name {
        let _ = write!(html, "<p class=\"original\" lang=\"en\">{}</p>", escape(name));
    }
    if let Some(means) = words::wall_means(lang, name) {
        let _ = write!(html, "<p>{}</p>", escape(means));
    }
    html.push_str("<ul class=\"who\">");
    for (model, cells) in by_model(met) {
        let list: Vec<String> = cells
            .iter()
            .map(|cell| match (lang, ends) {
                (Lang::En, true) => {
                    format!("held {} of {}", whole(cell.established), whole(cell.connections))
                }
                (Lang::Zh, true) => format!("{} 中承载 {}", whole(cell.connections), whole(cell.established)),
                (_, false) => whole(cell.connections),
            })
            .collect();
        let at = if ends { "" } else { lang.pick("at ", "连接数 ") };
        let _ =
            write!(html, "<li>{} <span>{at}{}</span></li>", named(model, looks), escape(&lang.list(&list)));
    }
    html.push_str("</ul>");
    let told = distinct(met);
    let (read, fix) = (lang.pick("What was read", "读到的证据"), lang.pick("What moves it", "怎么办"));
    let evidence: Vec<&(&Cell, &Wall)> = told.iter().filter(|(_, wall)| !wall.evidence.is_empty()).collect();
    if !evidence.is_empty() {
        let _ = write!(html, "<h4>{read}</h4>");
        for (cell, wall) in evidence {
            let _ = write!(
                html,
                "<p class=\"evidence\" lang=\"en\"><b><bdi>{}</bdi></b> {}</p>",
                escape(&cell.model),
                escape(&wall.evidence)
            );
        }
    }
    let mut fixes: Vec<&str> =
        told.iter().map(|(_, wall)| wall.fix.as_str()).filter(|fix| !fix.is_empty()).collect();
    fixes.dedup();
    let helps = words::wall_helps(lang, name);
    if helps.is_some() || !fixes.is_empty() {
        let _ = write!(html, "<h4>{fix}</h4>");
    }
    if let Some(helps) = helps {
        let _ = write!(html, "<p>{}</p>", escape(helps));
    }
    for fix in fixes {
        let _ = write!(html, "<p class=\"fix\" lang=\"en\">{}</p>", escape(fix));
    }
    html + "</article>\n"
}

fn by_model<'a>(met: &[(&'a Cell, &'a Wall)]) -> Vec<(&'a str, Vec<&'a Cell>)> {
    let mut models: Vec<(&str, Vec<&Cell>)> = Vec::new();
    for (cell, _) in met {
        match models.iter_mut().find(|(model, _)| *model == cell.model) {
            Some((_, cells)) => cells.push(cell),
            None => models.push((&cell.model, vec![cell])),
        }
    }
    models
}

/// Evidence that differs in more than its numbers; of the same words one example is enough.
fn distinct<'a>(met: &[(&'a Cell, &'a Wall)]) -> Vec<(&'a Cell, &'a Wall)> {
    let mut shapes: Vec<String> = Vec::new();
    let mut told = Vec::new();
    for (cell, wall) in met {
        let shape: String =
            wall.evidence.chars().filter(|c| !c.is_ascii_digit() && !matches!(c, ',' | '.')).collect();
        if !shapes.contains(&shape) {
            shapes.push(shape);
            told.push((*cell, *wall));
        }
    }
    told
}

/// Every cell of a work.
pub fn table(lang: Lang, run: &Run, work: &Work, looks: &[(String, Look)]) -> String {
    let cells: Vec<&Cell> = run.cells.iter().filter(|cell| cell.work == *work).collect();
    let kernel = cells.iter().any(|cell| cell.number("kernel_bytes_per_conn").is_some());
    let repeated = cells.iter().any(|cell| cell.repeats() > 1);
    let mut heads = vec![
        lang.pick("connections", "连接数"),
        lang.pick("held", "承载"),
        lang.pick("msg/s", "消息/秒"),
        "p50",
        "p99",
        "p99.9",
        lang.pick("CPU/msg", "CPU/消息"),
        lang.pick("memory/conn", "内存/连接"),
    ];
    if kernel {
        heads.push(lang.pick("kernel/conn", "内核/连接"));
    }
    heads.push(lang.pick("errors", "错误"));
    if repeated {
        heads.push(lang.pick("spread", "离散"));
    }
    heads.push(lang.pick("wall, or what bounded it", "墙，或受限于"));
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><caption>{0}</caption><thead><tr><th scope=\"col\">{1}</th>",
        escape(&words::work(lang, work)),
        lang.pick("model", "模型")
    );
    for head in heads {
        let _ = write!(html, "<th scope=\"col\">{head}</th>");
    }
    html.push_str("</tr></thead>");
    for model in run.models() {
        let line = run.line(work, model);
        if line.is_empty() {
            continue;
        }
        html.push_str("<tbody>");
        for (at, cell) in line.iter().enumerate() {
            html.push_str("<tr>");
            if at == 0 {
                let _ = write!(
                    html,
                    "<th scope=\"rowgroup\" rowspan=\"{}\">{}</th>",
                    line.len(),
                    named(model, looks)
                );
            }
            html.push_str(&row(lang, &cells, cell, kernel, repeated));
            html.push_str("</tr>");
        }
        html.push_str("</tbody>\n");
    }
    html + "</table></div>\n"
}

fn row(lang: Lang, cells: &[&Cell], cell: &Cell, kernel: bool, repeated: bool) -> String {
    let short = cell.established < cell.connections;
    let mut html = format!(
        "<td>{}</td><td{}>{}</td>",
        whole(cell.connections),
        if short { " class=\"less\"" } else { "" },
        whole(cell.established)
    );
    for figure in [Figure::Rate, Figure::P50, Figure::P99, Figure::P999, Figure::Cpu, Figure::Memory] {
        html.push_str(&value(cells, cell, figure));
    }
    if kernel {
        let bytes = cell.number("kernel_bytes_per_conn").map_or("–".to_owned(), figures::bytes);
        let _ = write!(html, "<td>{bytes}</td>");
    }
    let kinds: Vec<String> = cell
        .field("errors_by_kind")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    let title =
        if kinds.is_empty() { String::new() } else { format!(" title=\"{}\"", escape(&kinds.join(", "))) };
    let _ = write!(
        html,
        "<td{title}>{}</td>",
        if cell.errors == 0 { "0".to_owned() } else { whole(cell.errors) }
    );
    if repeated {
        let spread =
            cell.spread(Figure::Rate).map_or("–".to_owned(), |spread| format!("{:.1} %", spread * 100.0));
        let _ = write!(html, "<td>{spread}</td>");
    }
    match (&cell.wall, &cell.limited_by) {
        (Some(wall), _) => {
            let _ = write!(html, "<td class=\"end\">✕ {}</td>", escape(words::wall(lang, &wall.name)));
        }
        (None, Some(limit)) => {
            let _ = write!(html, "<td class=\"bound\">{}</td>", escape(words::wall(lang, &limit.name)));
        }
        (None, None) => html.push_str("<td></td>"),
    }
    html
}

/// A figure; the best of its rung stands out.
fn value(cells: &[&Cell], cell: &Cell, figure: Figure) -> String {
    let Some(value) = cell.figure(figure) else { return "<td>–</td>".to_owned() };
    let rivals = cells.iter().filter(|other| other.connections == cell.connections && other.wall.is_none());
    let mut rivals =
        rivals.filter(|other| other.model != cell.model).filter_map(|other| other.figure(figure)).peekable();
    let alone = rivals.peek().is_none();
    let beaten = rivals.any(|other| if figure.more_is_better() { other > value } else { other < value });
    let best = !alone && !beaten && cell.wall.is_none() && value > 0.0;
    let bound = if figure == Figure::Rate && cell.loader_limited() { "≥ " } else { "" };
    let spread = cell.spread(figure).map_or(String::new(), |s| format!(" title=\"±{:.0} %\"", s * 50.0));
    format!("<td{}{spread}>{bound}{}</td>", if best { " class=\"best\"" } else { "" }, figure.form()(value))
}

/// Where the figures come from.
pub fn provenance(lang: Lang, run: &Run) -> String {
    let mut html = "<div class=\"provenance\">".to_owned();
    let parts = [
        (lang.pick("Machine", "机器"), &run.machine),
        (lang.pick("What was asked for", "测量参数"), &run.asked),
    ];
    for (title, value) in parts {
        let mut rows = Vec::new();
        flatten(lang, "", value, &mut rows);
        if rows.is_empty() {
            continue;
        }
        let _ = write!(html, "<div><h3>{title}</h3><dl>");
        for (key, value) in rows {
            let _ =
                write!(html, "<div><dt>{}</dt><dd><bdi>{}</bdi></dd></div>", escape(&key), escape(&value));
        }
        html.push_str("</dl></div>\n");
    }
    html.push_str("</div>\n");
    for (title, entries) in [
        (lang.pick("Could not run here", "在此无法运行"), &run.unavailable),
        (lang.pick("How the figures were taken", "各项数据的测法"), &run.methods),
    ] {
        if entries.is_empty() {
            continue;
        }
        let _ = write!(html, "<details open><summary>{title}</summary><dl class=\"methods\">");
        for (key, value) in entries {
            let _ = write!(html, "<dt>{}</dt><dd lang=\"en\">{}</dd>", escape(key), escape(value));
        }
        html.push_str("</dl></details>\n");
    }
    html
}

/// Every leaf of an object with its path; what is not known is left out.
fn flatten(lang: Lang, path: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(entries) => {
            for (key, value) in entries {
                let inner = match path {
                    "" => key.clone(),
                    // The kernel's own names need no path in front.
                    "sysctls" => key.clone(),
                    path => format!("{path} {key}"),
                };
                flatten(lang, &inner, value, rows);
            }
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            for entry in entries {
                flatten(lang, path, entry, rows);
            }
        }
        Value::Array(entries) => {
            let list: Vec<String> = entries.iter().map(|entry| leaf(lang, "", entry)).collect();
            if !list.is_empty() {
                rows.push((label(lang, path), lang.list(&list)));
            }
        }
        value => rows.push((label(lang, path), leaf(lang, path, value))),
    }
}

fn leaf(lang: Lang, path: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => lang.pick("yes", "是").to_owned(),
        Value::Bool(false) => lang.pick("no", "否").to_owned(),
        Value::Number(number) => match number.as_f64() {
            Some(bytes) if path.ends_with("_bytes") && bytes >= 1024.0 => figures::bytes(bytes),
            Some(seconds) if path.ends_with("window_s") => format!("{seconds:.3} s").replace(".000", ""),
            _ => number.as_u64().map_or_else(|| number.to_string(), whole),
        },
        other => other.to_string(),
    }
}

fn label(lang: Lang, path: &str) -> String {
    const LABELS: [(&str, &str, &str); 36] = [
        ("duolu", "duolu", "duolu 版本"),
        ("began_at", "began", "开始时间"),
        ("kernel", "Linux", "Linux"),
        ("kernel_build", "kernel's build", "内核构建"),
        ("virtual_machine", "virtual machine", "虚拟机"),
        ("governor", "frequency governor", "频率策略"),
        ("cpus", "processors", "处理器数"),
        ("cpu_model", "processor", "处理器"),
        ("memory_bytes", "memory", "内存"),
        ("memory_available_bytes", "memory available", "可用内存"),
        ("load_before", "load before (1 min)", "开始前负载（1 分钟）"),
        ("busy_before", "cores busy before", "开始前忙碌核心"),
        ("noisy", "noise", "干扰"),
        ("limits nofile", "RLIMIT_NOFILE", "RLIMIT_NOFILE"),
        ("limits nofile_hard", "RLIMIT_NOFILE, hard", "RLIMIT_NOFILE（硬）"),
        ("limits nproc", "RLIMIT_NPROC", "RLIMIT_NPROC"),
        ("limits cgroup_pids", "pids.max", "pids.max"),
        ("limits cgroup_memory_bytes", "memory.max", "memory.max"),
        ("placement pinned", "pinned", "绑定处理器"),
        ("placement shared", "one processor shared", "共用处理器"),
        ("placement server_cpus", "server's processors", "服务器的处理器"),
        ("placement loader_cpus", "loader's processors", "压测端的处理器"),
        ("placement refused", "pinning refused", "绑定被拒绝"),
        ("models", "models", "模型"),
        ("order", "order of the run", "运行顺序"),
        ("connections", "connections", "连接数"),
        ("window_s", "window for each rung", "每档测量时长"),
        ("repeats", "repeats", "重复次数"),
        ("service", "service", "服务"),
        ("payload_bytes", "bytes of a message", "每条消息字节"),
        ("payloads", "payloads", "消息大小"),
        ("active", "active connections", "活跃连接"),
        ("churn", "new connection each request", "每请求新连接"),
        ("workers", "workers", "工作线程"),
        ("server_nofile", "server's RLIMIT_NOFILE", "服务器 RLIMIT_NOFILE"),
        ("seed", "seed of the order", "顺序种子"),
    ];
    let found = LABELS.iter().find(|(key, ..)| *key == path);
    found.map_or_else(|| path.replace('_', " "), |(_, en, zh)| lang.pick(en, zh).to_owned())
}

/// The connections that each worker had, as bars; models without several workers have none.
pub fn balance(lang: Lang, run: &Run, work: &Work, looks: &[(String, Look)]) -> String {
    let mut html = String::new();
    for model in run.models() {
        let line = run.line(work, model);
        let Some(cell) = line.iter().rev().find(|cell| cell.accepted().len() > 1) else { continue };
        let workers = cell.accepted();
        let total: u64 = workers.iter().sum();
        if total == 0 {
            continue;
        }
        let share = |count: u64| count as f64 * 100.0 / total as f64;
        let even = 100.0 / workers.len() as f64;
        let list: Vec<String> = workers.iter().map(|count| whole(*count)).collect();
        let (most, least) =
            (workers.iter().max().copied().unwrap_or(0), workers.iter().min().copied().unwrap_or(0));
        let told = match lang {
            Lang::En => format!(
                "{model}: {} connections over {} workers: {}",
                whole(total),
                workers.len(),
                list.join(", ")
            ),
            Lang::Zh => format!(
                "{model}：{} 个连接分在 {} 个工作线程：{}",
                whole(total),
                workers.len(),
                list.join("、")
            ),
        };
        let scale = 100.0 / share(most).max(even * 1.15);
        let look = looks.iter().find(|(name, _)| name == model).map_or("", |(_, look)| look.class.as_str());
        let mut bars = String::new();
        let rows = workers.len() as f64;
        for (at, count) in workers.iter().enumerate() {
            let _ = write!(
                bars,
                "<g class=\"p\" data-x=\"{0:.1}\" data-y=\"{1:.1}\"><title>{2} {3}\n{4}\t{5:.1} %</title><rect x=\"0\" y=\"{6:.1}\" width=\"{0:.1}\" height=\"8\" rx=\"1\"/></g>",
                share(*count) * scale * 3.0,
                at as f64 * 11.0 + 4.0,
                lang.pick("worker", "工作线程"),
                at + 1,
                escape(&lang.connections(*count)),
                share(*count),
                at as f64 * 11.0
            );
        }
        let x = even * scale * 3.0;
        let _ = write!(
            html,
            "<figure><figcaption>{} <small>{} – {}</small></figcaption><svg class=\"bars {look}\" viewBox=\"0 0 300 {:.1}\" role=\"img\" aria-label=\"{}\">{bars}<path class=\"even\" d=\"M{x:.1} 0V{:.1}\"/></svg></figure>\n",
            named(model, looks),
            whole(least),
            whole(most),
            rows * 11.0,
            escape(&told),
            rows * 11.0
        );
    }
    html
}
