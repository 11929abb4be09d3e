//! The page: the diagram with its numbers, and the same as tables, in the shell of [`crate::page`].

use super::edge::Edge;
use super::picture::Picture;
use super::step::Other;
use super::{svg, words};
use crate::lang::Lang;
use crate::page;
use crate::report::markup::escape;
use crate::states::columns;
use crate::states::layout::Column;
use crate::states::transitions::Look;
use crate::states::view::View;
use crate::states::words::state as means;
use crate::walls::grouped;
use duolu_sys::tcp_diag::TcpState;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
/// What the drawing needs of it, for a file of its own.
const DRAWING: &str = include_str!("drawing.css");
/// So many connections are listed.
const MOST: usize = 200;

/// What the page is made of.
pub struct Page<'a> {
    /// What was seen.
    pub look: &'a Look,
    /// The sockets of it that are asked for.
    pub view: &'a View<'a>,
    /// What is looked at: `:8080`; `None`: everything.
    pub at: Option<String>,
    /// When, as a person reads it.
    pub when: String,
    /// The language it opens in; `None`: the reader's.
    pub lang: Option<Lang>,
}

impl Page<'_> {
    fn picture(&self) -> &Picture {
        &self.look.picture
    }

    fn heading(&self, lang: Lang) -> String {
        match (&self.at, lang) {
            (Some(at), Lang::En) => format!("TCP states on {at}"),
            (Some(at), Lang::Zh) => format!("{at} 上的 TCP 状态"),
            (None, _) => lang.pick("TCP states of this machine", "本机的 TCP 状态").to_owned(),
        }
    }

    fn subtitle(&self, lang: Lang) -> String {
        let sockets = sockets(lang, self.view.picked.len());
        let seconds = format!("{:.1}", self.picture().span.as_secs_f64());
        match lang {
            Lang::En => format!("{} · {sockets} · transitions of {seconds} s", self.when),
            Lang::Zh => format!("{} · {sockets} · {seconds} 秒内的状态转换", self.when),
        }
    }

    /// The drawing alone, as a file.
    pub fn svg(&self, lang: Lang) -> String {
        let title = format!("{} · {}", self.heading(lang), self.subtitle(lang));
        let body = svg::render("d", self.picture(), lang, &title, Some(DRAWING));
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}\n")
    }

    /// The whole file.
    pub fn html(&self) -> String {
        let title = format!("duolu: {}", self.heading(self.lang.unwrap_or(Lang::En)));
        let page = page::Page { title: &title, lang: self.lang, styles: &[DRAWING, STYLE], script: Some("") };
        page.render(|html, lang| self.main(html, lang))
    }

    fn main(&self, html: &mut String, lang: Lang) {
        let picture = self.picture();
        let _ = writeln!(
            html,
            "<main lang=\"{lang}\" class=\"{}\">\n<header><p class=\"brand\">duolu <span lang=\"zh-CN\">多路</span> · states</p>\
             <h1>{}</h1><p class=\"sub\">{}</p></header>",
            lang.key(),
            escape(&self.heading(lang)),
            escape(&self.subtitle(lang))
        );
        if let Some(stale) = words::stale(picture, &self.look.keepers, lang) {
            let text = stale.trim_start_matches("! ");
            let _ = writeln!(
                html,
                "<p class=\"notice\"><span class=\"sign\" aria-hidden=\"true\">!</span>{}</p>",
                escape(text)
            );
        }
        let drawing = svg::render(lang.key(), picture, lang, &self.heading(lang), None);
        let _ = writeln!(
            html,
            "<figure><div class=\"scroll\" tabindex=\"0\">{drawing}</div><figcaption>{}<p>{}</p></figcaption></figure>",
            svg::legend(lang),
            escape(lang.pick(
                "RFC 9293, figure 5. In the boxes: sockets now; the bar grows by powers of ten. At the lines: what moves a connection, and what that is to the program; n/s: transitions per second, ×n: since watching began.",
                "RFC 9293 图 5。框内：现在的套接字数，色条按十的幂增长。线旁：什么使连接移动，对程序意味着什么；n/s：每秒转换次数，×n：开始观察以来的次数。"
            ))
        );
        self.notes(html, lang);
        self.states(html, lang);
        self.edges(html, lang);
        self.connections(html, lang);
        let _ = writeln!(
            html,
            "<footer><p>{}</p></footer>\n</main>",
            lang.pick(
                "Made by duolu states -o, from the kernel's own tables (sock_diag). duolu states --watch shows it live.",
                "由 duolu states -o 生成，数据来自内核（sock_diag）。duolu states --watch 可以看实时图。",
            )
        );
    }

    fn notes(&self, html: &mut String, lang: Lang) {
        let _ = write!(
            html,
            "<section><h2>{}</h2><ul class=\"notes\">",
            lang.pick("How to read it", "怎样读这张图")
        );
        for caveat in words::caveats(self.picture(), lang) {
            let _ = write!(html, "<li>{}</li>", escape(&caveat));
        }
        html.push_str("</ul></section>\n");
    }

    fn states(&self, html: &mut String, lang: Lang) {
        let rows = TcpState::ALL.into_iter().filter(|state| *state != TcpState::Closed).map(|state| {
            let count = self.picture().at(state);
            let class = if count == 0 { " class=\"none\"" } else { "" };
            format!(
                "<tr{class}><th scope=\"row\">{state}</th><td class=\"n\">{}</td><td>{}</td></tr>",
                grouped(count),
                escape(means(lang, state))
            )
        });
        table(
            html,
            lang.pick("Sockets in each state", "各状态的套接字"),
            &[lang.pick("state", "状态"), lang.pick("sockets", "套接字"), lang.pick("what it means", "含义")],
            rows,
        );
    }

    fn edges(&self, html: &mut String, lang: Lang) {
        let picture = self.picture();
        let rate = |rate: f64| if rate > 0.0 { super::picture::short(rate) } else { "0".to_owned() };
        let edges = Edge::ALL.into_iter().map(|edge| {
            let class = if picture.since.of(edge) == 0 { " class=\"none\"" } else { "" };
            format!(
                "<tr{class}><th scope=\"row\">{} → {}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td></tr>",
                edge.from(),
                edge.to(),
                rate(picture.rate(edge)),
                grouped(picture.since.of(edge)),
                escape(&edge.cause(lang)),
                escape(edge.program(lang))
            )
        });
        let others = Other::ALL.into_iter().filter(|other| picture.since.of_other(*other) > 0).map(|other| {
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td></tr>",
                escape(other.name(lang)),
                rate(picture.other_rate(other)),
                grouped(picture.since.of_other(other)),
                lang.pick("not in the figure", "图上没有"),
                escape(other.program(lang))
            )
        });
        table(
            html,
            lang.pick("Transitions, and what causes each", "每种状态转换，以及它的起因"),
            &[
                lang.pick("from → to", "从 → 到"),
                lang.pick("per second", "每秒"),
                lang.pick("in all", "总计"),
                lang.pick("moved by", "起因"),
                lang.pick("to the program", "对程序而言"),
            ],
            edges.chain(others),
        );
    }

    fn connections(&self, html: &mut String, lang: Lang) {
        let listeners = self.view.listeners();
        let rows = self.view.rows();
        let shown = &rows[..rows.len().min(MOST)];
        if !listeners.is_empty() {
            let columns = columns::of_listeners(lang, &listeners);
            self.columns(html, lang.pick("Listeners", "监听者"), &columns);
        }
        if !shown.is_empty() {
            let (columns, _) = columns::of_rows(lang, &self.look.snapshot, shown, None);
            self.columns(html, lang.pick("Connections", "连接"), &columns);
        }
        if shown.len() < rows.len() {
            let more = grouped((rows.len() - shown.len()) as u64);
            let _ = writeln!(
                html,
                "<p class=\"more\">{}</p>",
                match lang {
                    Lang::En => format!("{more} more are not listed here; duolu states -n 0 lists all."),
                    Lang::Zh => format!("还有 {more} 个没有列出；duolu states -n 0 列出全部。"),
                }
            );
        }
    }

    fn columns(&self, html: &mut String, title: &str, columns: &[Column]) {
        let heads: Vec<&str> = columns.iter().map(|column| column.head).collect();
        let count = columns.iter().map(|column| column.cells.len()).max().unwrap_or(0);
        let rows = (0..count).map(|row| {
            let cells: String = columns
                .iter()
                .map(|column| {
                    let class = if column.is_figure { " class=\"n\"" } else { "" };
                    let text = column.cells.get(row).map_or("", |cell| cell.text.as_str());
                    format!("<td{class}>{}</td>", escape(text))
                })
                .collect();
            format!("<tr>{cells}</tr>")
        });
        table(html, title, &heads, rows);
    }
}

/// `1 socket`, `12 个套接字`.
pub fn sockets(lang: Lang, count: usize) -> String {
    let number = grouped(count as u64);
    match lang {
        Lang::En if count == 1 => format!("{number} socket"),
        Lang::En => format!("{number} sockets"),
        Lang::Zh => format!("{number} 个套接字"),
    }
}

fn table(html: &mut String, title: &str, heads: &[&str], rows: impl Iterator<Item = String>) {
    let _ = write!(
        html,
        "<section><h2>{title}</h2><div class=\"scroll\" tabindex=\"0\"><table><caption>{title}</caption><thead><tr>",
        title = escape(title)
    );
    for head in heads {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(head));
    }
    html.push_str("</tr></thead><tbody>\n");
    rows.for_each(|row| {
        html.push_str(&row);
        html.push('\n');
    });
    html.push_str("</tbody></table></div></section>\n");
}
