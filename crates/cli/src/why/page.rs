//! The X-ray card as a page, in the shell of [`crate::page`], without a script.

use super::Report;
use super::card;
use super::view::{self, Chip, Instance, Node, Row};
use super::wall::{self, Fix, short};
use crate::failure::Failure;
use crate::lang::Lang;
use crate::page::Page;
use crate::report::markup::escape;
use std::fmt::Write;
use std::fs;
use std::path::Path;

const STYLE: &str = include_str!("page.css");

/// Writes it.
///
/// # Errors
/// The file cannot be written: exit code 3.
pub fn write(report: &Report<'_>, open: Lang, path: &Path) -> Result<(), Failure> {
    fs::write(path, render(report, open))
        .map_err(|error| Failure::cannot(format!("cannot write {}: {error}", path.display())))
}

fn render(report: &Report<'_>, open: Lang) -> String {
    let title = format!("duolu why: {}", view::heading(report, open));
    let page = Page { title: &title, lang: Some(open), styles: &[STYLE], script: None };
    page.render(|html, lang| main(html, report, lang))
}

fn main(html: &mut String, report: &Report<'_>, lang: Lang) {
    let _ = write!(
        html,
        "<main lang=\"{lang}\" class=\"{}\">\n<header><p class=\"brand\">duolu <span lang=\"zh\">多路</span> · {}</p><h1>{}</h1>\
         <p class=\"verdict\">{}</p>",
        lang.key(),
        lang.pick("why", "透视"),
        escape(&view::heading(report, lang)),
        escape(&view::verdict(report, lang))
    );
    html.push_str("<ul class=\"evidence\">");
    for evidence in &report.case.verdict.evidence {
        let _ = write!(html, "<li>{}</li>", escape(evidence.pick(lang)));
    }
    let _ = write!(html, "</ul><p class=\"numbers\">{}</p>", escape(&view::numbers(report, lang)));
    if let Some(states) = view::states(report) {
        let _ = write!(html, "<p class=\"numbers\">{}</p>", escape(&states));
    }
    html.push_str("</header>\n");
    next(html, report, lang);
    let tree = view::tree(report, lang);
    if !tree.is_empty() {
        section(html, lang.pick("Processes, threads, descriptors", "进程、线程、描述符"));
        tree.iter().for_each(|node| self::node(html, node));
    }
    bars(html, report, lang);
    warnings(html, report, lang);
    missing(html, report, lang);
    footer(html, report, lang);
    html.push_str("</main>\n");
}

fn section(html: &mut String, title: &str) {
    let _ = writeln!(html, "<h2>{title}</h2>");
}

fn node(html: &mut String, node: &Node) {
    let _ = write!(
        html,
        "<div class=\"node d{}\"><h3>{} <small>{}</small></h3><div class=\"inside\">",
        node.depth.min(3),
        escape(&node.title),
        escape(&node.facts)
    );
    if !node.threads.is_empty() {
        html.push_str("<ul class=\"threads\">");
        for row in &node.threads {
            let busy = row.chips.iter().any(|chip| matches!(chip, Chip::Busy(part) if *part >= 90));
            let class = if busy {
                " class=\"busy\""
            } else if row.listener {
                " class=\"on-listener\""
            } else {
                ""
            };
            let _ = write!(html, "<li{class}>{}</li>", content(row));
        }
        html.push_str("</ul>");
    }
    if !node.instances.is_empty() {
        html.push_str("<div>");
        node.instances.iter().for_each(|instance| self::instance(html, instance));
        html.push_str("</div>");
    }
    html.push_str("</div></div>\n");
}

fn instance(html: &mut String, instance: &Instance) {
    let _ = write!(
        html,
        "<div class=\"instance\"><p class=\"name\"><b>{}</b><span>{}</span></p><ul>",
        escape(&instance.title),
        escape(&instance.note)
    );
    for row in &instance.rows {
        let _ = write!(html, "<li>{}</li>", content(row));
    }
    html.push_str("</ul></div>");
}

fn content(row: &Row) -> String {
    let chip = |chip: &Chip| {
        let class = match chip {
            Chip::Level => "lt",
            Chip::Edge => "et",
            Chip::OneShot => "one",
            Chip::Exclusive => "excl",
            Chip::Busy(part) if *part >= 90 => "cpu hot",
            Chip::Busy(_) => "cpu",
        };
        format!("<span class=\"chip {class}\">{}</span>", chip.text())
    };
    let chips: String = row.chips.iter().map(chip).collect();
    let chips = if chips.is_empty() { chips } else { format!("<span class=\"chips\">{chips}</span>") };
    format!("<span>{}</span>{chips}", escape(&row.text))
}

fn bars(html: &mut String, report: &Report<'_>, lang: Lang) {
    if report.bars.is_empty() {
        return;
    }
    section(html, lang.pick("Headroom", "余量"));
    html.push_str("<div class=\"bars\">");
    let mut far = Vec::new();
    for bar in &report.bars {
        let is_next = report.next().is_some_and(|next| std::ptr::eq(next, bar));
        if bar.part() < card::FAR && !is_next {
            far.push(format!("{} {}", short(lang, bar.wall), card::amounts(bar)));
            continue;
        }
        let class = match bar.part() {
            part if part >= 0.9 => " full",
            part if part >= 0.7 => " mid",
            _ => "",
        };
        let of = bar.of.as_deref().map_or(String::new(), |of| format!("<small>{}</small>", escape(of)));
        let mark = if is_next { lang.pick(" ← next", " ← 下一堵") } else { "" };
        let next = if is_next { " next" } else { "" };
        let _ = write!(
            html,
            "<div class=\"bar\"><span class=\"what{next}\">{}{of}</span><span class=\"track\"><span class=\"fill{class}\" style=\"width:{:.2}%\"></span></span>\
             <span class=\"amount{next}\">{}{mark}</span></div>",
            escape(short(lang, bar.wall)),
            bar.part() * 100.0,
            escape(&card::amounts(bar))
        );
    }
    html.push_str("</div>\n");
    if !far.is_empty() {
        let _ = writeln!(
            html,
            "<p class=\"far\">{}{}</p>",
            lang.pick("below 1 %: ", "不到 1 %："),
            escape(&far.join(" · "))
        );
    }
}

fn next(html: &mut String, report: &Report<'_>, lang: Lang) {
    let Some(bar) = report.next() else { return };
    let now = crate::walls::grouped(report.case.connections);
    let _ = writeln!(
        html,
        "<section class=\"wall\"><h2>{}{}<small>{}</small></h2><p>{}</p><p class=\"source\">{} {}</p>{}</section>",
        lang.pick("Next wall: ", "下一堵墙："),
        escape(&card::next_title(bar, lang)),
        match lang {
            Lang::En => format!("now {now}"),
            Lang::Zh => format!("现在 {now}"),
        },
        escape(bar.evidence.pick(lang)),
        lang.pick("read in", "读自"),
        escape(bar.source.pick(lang)),
        fixes(&bar.fixes, lang)
    );
}

fn fixes(fixes: &[Fix], lang: Lang) -> String {
    let mut html = String::from("<dl class=\"fixes\">");
    for (at, fix) in fixes.iter().enumerate() {
        let line = escape(fix.line.pick(lang));
        let line = if fix.is_command() { format!("<code>{line}</code>") } else { line };
        let _ = write!(html, "<dt>{}</dt><dd>{line}</dd>", wall::head(fixes, at, lang));
    }
    html + "</dl>"
}

fn warnings(html: &mut String, report: &Report<'_>, lang: Lang) {
    if report.warnings.is_empty() {
        return;
    }
    section(html, lang.pick("Warnings", "警告"));
    html.push_str("<ul class=\"warnings\">");
    for warning in &report.warnings {
        let _ = write!(
            html,
            "<li><p>{}</p>{}</li>",
            escape(warning.evidence.pick(lang)),
            fixes(&warning.fixes, lang)
        );
    }
    html.push_str("</ul>\n");
}

fn missing(html: &mut String, report: &Report<'_>, lang: Lang) {
    let sentences = card::not_read(report, lang);
    if sentences.is_empty() {
        return;
    }
    section(html, lang.pick("Not read", "没有读到的"));
    html.push_str("<ul class=\"missing\">");
    for (what, unlock) in sentences {
        let unlock = unlock.map_or(String::new(), |unlock| {
            format!(" <span class=\"soft\">{}{}</span>", lang.pick("unlock: ", "解锁："), escape(&unlock))
        });
        let _ = write!(html, "<li>{}{unlock}</li>", escape(&what));
    }
    html.push_str("</ul>\n");
}

fn footer(html: &mut String, report: &Report<'_>, lang: Lang) {
    let server = report.case.server;
    let (target, looks, ms) = (server.target, server.looks.count, server.looks.lasted.as_millis());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (kernel, version) = (kernel.trim(), env!("CARGO_PKG_VERSION"));
    let text = match lang {
        Lang::En => format!(
            "duolu why {target} (duolu {version}, Linux {kernel}): {looks} looks in {ms} ms, read-only. It tells what was there at \
             that moment."
        ),
        Lang::Zh => format!(
            "duolu why {target}（duolu {version}，Linux {kernel}）：{ms} 毫秒内看了 {looks} 次，只读。说的是那一刻的情况。"
        ),
    };
    let _ = writeln!(html, "<footer>{}</footer>", escape(&text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::said::Said;
    use crate::why::wall::{Bar, Unit};

    fn is_closed(html: &str) -> bool {
        let count = |text: String| html.matches(&text).count();
        ["ul", "div", "li", "h3"].iter().all(|tag| count(format!("<{tag}")) == count(format!("</{tag}>")))
    }

    #[test]
    fn what_strangers_call_themselves_is_text_on_the_page() {
        let row =
            Row { text: "<script>".to_owned(), chips: vec![Chip::Edge, Chip::Busy(97)], listener: false };
        let node = self::Node {
            depth: 9,
            title: "<b>".to_owned(),
            facts: "&".to_owned(),
            threads: vec![row.clone()],
            instances: vec![Instance { title: "epoll 7".to_owned(), note: "\"".to_owned(), rows: vec![row] }],
        };
        let mut html = String::new();
        super::node(&mut html, &node);
        assert!(is_closed(&html) && html.contains("d3") && html.contains("cpu hot"), "{html}");
        assert!(!html.contains("<script>") && html.contains("&lt;b&gt;"), "{html}");
        let bar = Bar::new("x", 1, 2, "<", Said::same("&")).unit(Unit::Count);
        assert_eq!(card::amounts(&bar), "1/2");
    }
}
