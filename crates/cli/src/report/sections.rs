//! The parts of the page that are text: the figures at a glance, the walls, the table, the provenance.

use super::figures::{self, whole};
use super::findings::{extremes, top};
use super::look::Look;
use super::markup::escape;
use super::run::{Cell, Figure, Run, Wall, Work};
use super::words;
use crate::lang::Lang;
use crate::load::errors;
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
    let connections = lang.connections(rung);
    let at = match lang {
        Lang::En => format!("At {connections}:"),
        Lang::Zh => format!("{connections}时："),
    };
    let mut html = format!("<p class=\"at-top\">{}</p><div class=\"tiles\">", escape(&at));
    let (label, of) = match lang {
        Lang::En => ("held them all", format!("of {all}")),
        Lang::Zh => ("全部承载", format!("共 {all} 个")),
    };
    let _ = write!(
        html,
        "<div class=\"tile\"><p class=\"what\">{}</p><p class=\"value\">{} <small>{}</small></p></div>",
        label,
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
            (Lang::Zh, more) => {
                let name = words::figure(lang, figure);
                // Between a Latin letter and a Chinese one stands a space.
                let space = if name.ends_with(|letter: char| letter.is_ascii()) { " " } else { "" };
                format!("{name}{space}{}", if more { "最高" } else { "最低" })
            }
        };
        let latency = matches!(figure, Figure::P50 | Figure::P99 | Figure::P999);
        let sampled = if latency && cell.sampled() { lang.pick(" (sampled)", "（抽样）") } else { "" };
        let _ = write!(
            html,
            "<div class=\"tile\"><p class=\"what\">{label}{sampled}</p><p class=\"value\">{bound}{}</p><p class=\"who\">{}</p>{beside}</div>",
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
        // What bounded the rate of a line that ended is no news: it ended.
        let bound = if cell.wall.is_some() { &None } else { &cell.limited_by };
        for (wall, list) in [(&cell.wall, &mut ends), (bound, &mut bounds)] {
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
    let title = escape(words::wall(lang, name));
    let mut html = match ends {
        true => format!(
            "<article class=\"wall\"><h3><span class=\"mark\" aria-hidden=\"true\">✕</span>{title}</h3>"
        ),
        false => format!(
            "<article class=\"wall bound\"><h3>{title}<small>{}</small></h3>",
            lang.pick("bounded the rate, ended no line", "限制了速率，没有中断任何线")
        ),
    };
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
        let list = if ends { lang.list(&list) } else { list.join(" · ") };
        let _ = write!(html, "<li>{} <span>{at}{}</span></li>", named(model, looks), escape(&list));
    }
    html.push_str("</ul>");
    let told = distinct(met);
    let evidence: Vec<&(&Cell, &Wall)> = told.iter().filter(|(_, wall)| !wall.evidence.is_empty()).collect();
    if !evidence.is_empty() {
        let _ = write!(html, "<h4>{}</h4>", lang.pick("What was read", "读到的证据"));
    }
    for (cell, wall) in evidence {
        let said = wall.say(lang);
        let (tag, text) = match &said {
            Some((evidence, _)) => (lang, evidence),
            None => (Lang::En, &wall.evidence),
        };
        let (model, text) = (escape(&cell.model), escape(text));
        let _ = write!(html, "<p class=\"evidence\" lang=\"{tag}\"><b><bdi>{model}</bdi></b> {text}</p>");
    }
    html.push_str(&fixes(lang, name, met));
    html + "</article>\n"
}

/// What moves a wall. Where the result has it in English only, what always helps is said before it.
fn fixes(lang: Lang, name: &str, met: &[(&Cell, &Wall)]) -> String {
    let (mut all, mut shapes): (Vec<(Lang, String)>, Vec<String>) = Default::default();
    for (_, wall) in met {
        if !wall.fix.is_empty() && is_new(&mut shapes, &wall.fix) {
            all.push(wall.say(lang).map_or_else(|| (Lang::En, wall.fix.clone()), |(_, fix)| (lang, fix)));
        }
    }
    let foreign = all.is_empty() || all.iter().any(|(of, _)| *of != lang);
    let helps = words::wall_helps(lang, name).filter(|_| foreign);
    let mut html = String::new();
    if helps.is_some() || !all.is_empty() {
        let _ = write!(html, "<h4>{}</h4>", lang.pick("What moves it", "怎么办"));
    }
    if let Some(helps) = helps {
        let _ = write!(html, "<p>{}</p>", escape(helps));
    }
    for (of, fix) in all {
        let _ = write!(html, "<p class=\"fix\" lang=\"{of}\">{}</p>", escape(&fix));
    }
    html
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
    let mut shapes = Vec::new();
    met.iter().filter(|(_, wall)| is_new(&mut shapes, &wall.evidence)).copied().collect()
}

/// Whether a sentence is unlike those before it, whatever its numbers.
fn is_new(shapes: &mut Vec<String>, sentence: &str) -> bool {
    let shape: String = sentence.chars().filter(|c| !c.is_ascii_digit() && !matches!(c, ',' | '.')).collect();
    let new = !shapes.contains(&shape);
    if new {
        shapes.push(shape);
    }
    new
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
    let kinds = cell.field("errors_by_kind").and_then(Value::as_object);
    let kinds = kinds.filter(|kinds| !kinds.is_empty()).map(|kinds| {
        let counted = kinds.iter().map(|(kind, count)| (kind, count.as_u64()));
        format!("<small>{}</small>", escape(&errors::list(lang, counted)))
    });
    match cell.errors {
        0 => html.push_str("<td>0</td>"),
        errors => {
            let _ = write!(html, "<td class=\"errors\">{}{}</td>", whole(errors), kinds.unwrap_or_default());
        }
    }
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
    let rivals = rivals.filter(|other| other.sampled() == cell.sampled());
    let mut rivals =
        rivals.filter(|other| other.model != cell.model).filter_map(|other| other.figure(figure)).peekable();
    let alone = rivals.peek().is_none();
    let beaten = rivals.any(|other| if figure.more_is_better() { other > value } else { other < value });
    let best = !alone && !beaten && cell.wall.is_none() && value > 0.0;
    let bound = if figure == Figure::Rate && cell.loader_limited() { "≥ " } else { "" };
    let latency = matches!(figure, Figure::P50 | Figure::P99 | Figure::P999);
    let sampled = if latency && cell.sampled() { "°" } else { "" };
    let spread = cell.spread(figure).map_or(String::new(), |s| format!(" title=\"±{:.0} %\"", s * 50.0));
    format!(
        "<td{}{spread}>{bound}{}{sampled}</td>",
        if best { " class=\"best\"" } else { "" },
        figure.form()(value)
    )
}
