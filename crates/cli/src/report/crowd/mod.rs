//! The page of a climb (`make million`): how many connections at once, in how much memory, and whether they still
//! answer.
//!
//! Reading order: [`rungs`] (the result), [`charts`] (the pictures), [`prose`] (what is said about it).

mod charts;
mod prose;
mod rungs;

pub use rungs::Climb;

use super::look::{Look, looks};
use super::markup::escape;
use super::{page, sections};
use crate::lang::Lang;
use charts::Views;
use std::fmt::Write;

/// The whole file. It opens in `lang`; `None`: the reader's.
pub fn render(climb: &Climb, lang: Option<Lang>) -> String {
    let lines = climb.lines();
    let models: Vec<&str> =
        lines.iter().filter_map(|line| climb.line(line).first().map(|rung| rung.model.as_str())).collect();
    let looks: Vec<(String, Look)> =
        lines.iter().map(|line| (*line).to_owned()).zip(self::looks(&models)).collect();
    let title = prose::heading(lang.unwrap_or(Lang::En), climb);
    page::file(lang, &title, |html, lang| main(html, lang, climb, &looks))
}

fn main(html: &mut String, lang: Lang, climb: &Climb, looks: &[(String, Look)]) {
    let run = climb.as_run();
    let views = Views { climb, looks, lang };
    let _ = writeln!(
        html,
        "<main lang=\"{lang}\" class=\"{}\">\n<header><p class=\"brand\">duolu <span lang=\"zh\">多路</span> · {}</p><h1>{}</h1><p class=\"sub\">{}</p></header>",
        lang.key(),
        lang.pick("many at once", "海量连接"),
        escape(&prose::heading(lang, climb)),
        page::line_of(&page::machine_line(lang, &climb.machine))
    );
    page::notices(html, prose::notices(lang, climb));
    if !climb.rungs.is_empty() {
        html.push_str("<section class=\"work\">");
        html.push_str(&prose::tiles(lang, climb, looks));
        let _ = writeln!(
            html,
            "<figure class=\"headline\"><figcaption><h2>{}</h2><p>{}</p></figcaption>{}</figure>",
            lang.pick("What so many connections take", "这么多连接要多少内存"),
            lang.pick(
                "The kernel's memory for both ends, since both are on this machine, and the server's own. On two logarithmic axes a straight line at 45 degrees costs the same for each connection.",
                "内核内存是两端合计（两端都在这台机器上），另一条是服务器自身的内存。双对数坐标下，45 度的直线表示每个连接的代价不变。",
            ),
            views.memory()
        );
        html.push_str("<ul class=\"findings\">");
        for sentence in prose::findings(lang, climb) {
            let _ = write!(html, "<li>{}</li>", escape(&sentence));
        }
        html.push_str("</ul>\n");
        let small = views.small();
        if !small.is_empty() {
            let names: Vec<&str> = looks.iter().map(|(name, _)| name.as_str()).collect();
            let legend = if looks.len() > 1 { sections::legend(lang, &names, looks) } else { String::new() };
            let _ = write!(
                html,
                "<h2>{}</h2>{legend}<div class=\"multiples\">",
                lang.pick(
                    "What one of them costs, and whether it still answers",
                    "单个连接的代价，以及是否仍能应答"
                )
            );
            for (title, chart) in small {
                let _ = write!(html, "<figure><figcaption>{title}</figcaption>{chart}</figure>");
            }
            html.push_str("</div>\n");
        }
        let _ = writeln!(
            html,
            "<h2>{}</h2>{}</section>",
            lang.pick("All figures", "全部数据"),
            prose::table(lang, climb, looks)
        );
    }
    let made = lang.pick(
        "Made by duolu report from the result.json of make million, without a network; duolu report result.json makes it again.",
        "由 duolu report 从 make million 的 result.json 生成，不用网络；duolu report result.json 可以重新生成。",
    );
    page::end(html, lang, &run, looks, made);
}
