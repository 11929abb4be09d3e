//! The page of a comparison, in the shell of [`crate::page`].

use super::figures::whole;
use super::findings::{self, Weight};
use super::look::{Look, looks};
use super::markup::escape;
use super::run::{Figure, Run, Work};
use super::sections;
use super::views::Lines;
use super::words;
use super::{balance, changes, provenance};
use crate::lang::Lang;
use crate::page;
use serde_json::Value;
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A whole file around what `main` writes for each language. It opens in `lang`; `None`: the reader's.
pub fn file(lang: Option<Lang>, title: &str, main: impl FnMut(&mut String, Lang)) -> String {
    let title = format!("duolu: {title}");
    page::Page { title: &title, lang, styles: &[STYLE], script: Some(SCRIPT) }.render(main)
}

/// What has to be known before the figures are believed.
pub fn notices(html: &mut String, notices: Vec<(Weight, String)>) {
    if notices.is_empty() {
        return;
    }
    html.push_str("<ul class=\"notices\">");
    for (weight, text) in notices {
        let (class, sign) = match weight {
            Weight::Warning => ("warning", "!"),
            Weight::Note => ("note", "i"),
        };
        let _ = write!(
            html,
            "<li class=\"notice {class}\"><span class=\"sign\" aria-hidden=\"true\">{sign}</span>{}</li>",
            escape(&text)
        );
    }
    html.push_str("</ul>\n");
}

/// The end of a `<main>`: the walls, where the figures come from, and who `made` the page.
pub fn end(html: &mut String, lang: Lang, run: &Run, looks: &[(String, Look)], made: &str) {
    let walls = sections::walls(lang, run, looks);
    if !walls.is_empty() {
        let _ = writeln!(
            html,
            "<section><h2>{}</h2><div class=\"walls\">{walls}</div></section>",
            lang.pick("The walls: what stopped each line", "墙：每条线止于何处")
        );
    }
    let _ = writeln!(
        html,
        "<section><h2>{}</h2>{}</section>\n<footer><p>{made}</p></footer>\n</main>",
        lang.pick("Where the figures come from", "数据的来历"),
        provenance::section(lang, run)
    );
}

/// Parts beside each other; a narrow page breaks between them.
pub fn line_of(parts: &[String]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| format!("<span>{}</span>", escape(part))).collect();
    parts.join(" · ")
}

/// The machine in a few words.
pub fn machine_line(lang: Lang, machine: &Value) -> Vec<String> {
    let text = |path: &str| machine.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let kernel = text("/kernel").map(|kernel| format!("Linux {kernel}"));
    let cpus = machine.pointer("/cpus").and_then(Value::as_u64).map(|cpus| match lang {
        Lang::En => format!("{cpus} processor{}", if cpus == 1 { "" } else { "s" }),
        Lang::Zh => format!("{cpus} 个处理器"),
    });
    [kernel, cpus, text("/cpu_model"), text("/began_at")].into_iter().flatten().collect()
}

/// What the page is made of.
#[derive(Debug)]
pub struct Page<'a> {
    /// The result.
    pub run: &'a Run,
    /// An older one to compare it with.
    pub old: Option<&'a Run>,
    /// The language it opens in; `None`: the reader's.
    pub lang: Option<Lang>,
}

impl Page<'_> {
    /// The whole file.
    pub fn render(&self) -> String {
        let mut models = self.run.models();
        for model in self.old.map(Run::models).unwrap_or_default() {
            if !models.contains(&model) {
                models.push(model);
            }
        }
        let looks: Vec<(String, Look)> =
            models.iter().map(|model| (*model).to_owned()).zip(looks(&models)).collect();
        let main = |html: &mut String, lang| self.main(html, lang, &looks);
        file(self.lang, &self.heading(self.lang.unwrap_or(Lang::En)), main)
    }

    fn heading(&self, lang: Lang) -> String {
        let models = self.run.models().len();
        let rungs: Vec<u64> = self.run.works().iter().flat_map(|work| self.run.rungs(work)).collect();
        let (low, high) = (rungs.iter().min().copied(), rungs.iter().max().copied());
        let (Some(low), Some(high)) = (low, high) else {
            return lang.pick("no figures", "没有数据").to_owned();
        };
        match lang {
            Lang::En if low == high => {
                format!("{models} server{} at {}", if models == 1 { "" } else { "s" }, lang.connections(high))
            }
            Lang::En => format!(
                "{models} server{}, {} to {}",
                if models == 1 { "" } else { "s" },
                whole(low),
                lang.connections(high)
            ),
            Lang::Zh if low == high => format!("{models} 个服务器，{}", lang.connections(high)),
            Lang::Zh => format!("{models} 个服务器，{} 到 {}", whole(low), lang.connections(high)),
        }
    }

    fn main(&self, html: &mut String, lang: Lang, looks: &[(String, Look)]) {
        let works = self.run.works();
        let _ = writeln!(
            html,
            "<main lang=\"{lang}\" class=\"{}\">\n<header><p class=\"brand\">duolu <span lang=\"zh\">多路</span> · {}</p><h1>{}</h1><p class=\"sub\">{}</p></header>",
            lang.key(),
            lang.pick("compare", "对比"),
            escape(&self.heading(lang)),
            self.subtitle(lang, &works)
        );
        notices(html, findings::notices(lang, self.run));
        for (at, work) in works.iter().enumerate() {
            self.work(html, lang, work, looks, at, works.len() > 1);
        }
        let made = lang.pick(
            "Made by duolu report from result.json, without a network; duolu report result.json makes it again.",
            "由 duolu report 从 result.json 生成，不用网络；duolu report result.json 可以重新生成。",
        );
        end(html, lang, self.run, looks, made);
    }

    fn subtitle(&self, lang: Lang, works: &[&Work]) -> String {
        let work = match works {
            [work] => Some(words::work(lang, work)),
            _ => None,
        };
        let parts: Vec<String> = work.into_iter().chain(machine_line(lang, &self.run.machine)).collect();
        line_of(&parts)
    }

    fn work(
        &self,
        html: &mut String,
        lang: Lang,
        work: &Work,
        looks: &[(String, Look)],
        at: usize,
        many: bool,
    ) {
        let old = self.old.filter(|old| old.works().contains(&work));
        let lines = Lines { run: self.run, work, looks, lang, old };
        let id = format!("{}-{at}", lang.key());
        html.push_str("<section class=\"work\">");
        if many {
            let _ = write!(html, "<h2 class=\"of-work\">{}</h2>", escape(&words::work(lang, work)));
        }
        html.push_str(&sections::tiles(lang, self.run, work, looks));
        let _ = writeln!(
            html,
            "<figure class=\"headline\"><figcaption><h2>{}</h2><p>{}{}</p></figcaption>{}</figure>",
            lang.pick("How far each one goes, and what stops it", "各自能走多远，被什么挡住"),
            lang.pick(
                "Each line climbs from few connections to many; lower is faster. It ends in a cross where a wall stopped it.",
                "每条线从少量连接爬到大量连接，越低越快；被墙挡住的地方画一个叉。",
            ),
            match old {
                Some(_) => lang.pick(" Pale: the older result.", "浅色：旧结果。"),
                None => "",
            },
            lines.ladder(&id)
        );
        let sentences = findings::tell(lang, self.run, work);
        html.push_str("<ul class=\"findings\">");
        for sentence in sentences {
            let _ = write!(html, "<li>{}</li>", escape(&sentence));
        }
        html.push_str("</ul>\n");
        if let Some(old) = self.old {
            let _ = write!(
                html,
                "<h2>{}</h2>{}",
                lang.pick("What changed", "有何变化"),
                changes::section(lang, old, self.run, work, looks)
            );
        }
        self.multiples(html, &lines, &id);
        let _ = writeln!(
            html,
            "<h2>{}</h2>{}</section>",
            lang.pick("All figures", "全部数据"),
            sections::table(lang, self.run, work, looks)
        );
    }

    fn multiples(&self, html: &mut String, lines: &Lines<'_>, id: &str) {
        let (lang, run, work) = (lines.lang, lines.run, lines.work);
        let figure = |caption: &str, chart: String| {
            format!("<figure><figcaption>{}</figcaption>{chart}</figure>", escape(caption))
        };
        let costs = [Figure::Rate, Figure::Cpu, Figure::Memory].into_iter().filter_map(|of| {
            let chart = lines.small(id, of)?;
            Some(figure(words::figure(lang, of), chart))
        });
        let models: Vec<&str> =
            run.models().into_iter().filter(|model| !run.line(work, model).is_empty()).collect();
        let legend = sections::legend(lang, &models, lines.looks);
        part(html, lang.pick("What it costs", "代价"), &legend, "multiples", &costs.collect::<String>());

        let rungs = run.rungs(work);
        // Two or four stand better two by two than three and one.
        let two = matches!(rungs.len(), 2 | 4);
        let curves = rungs.into_iter().filter_map(|rung| {
            let chart = lines.distribution(id, rung, two)?;
            let sampled = run.cells.iter().any(|cell| cell.connections == rung && cell.sampled());
            let sampled = if sampled { lang.pick(" (sampled)", "（抽样）") } else { "" };
            Some(figure(&(lang.connections(rung) + sampled), chart))
        });
        let how = lang.pick(
            "Each step to the right leaves a tenth of the answers: 90 %, 99 %, 99.9 %. A line that rises at the right hides stalls behind a good median.",
            "每向右一步，剩下十分之一的回答：90 %、99 %、99.9 %。右端上扬的线，好看的中位数背后藏着停顿。",
        );
        let class = if two { "multiples two" } else { "multiples" };
        let curves = curves.collect::<String>();
        part(html, lang.pick("Who waits how long", "谁等多久"), &sentence(how), class, &curves);

        let how = lang.pick(
            "One bar for each worker; the line is an even share.",
            "每个工作线程一条；竖线为平均份额。",
        );
        let title = lang.pick("How connections fell to the workers", "连接如何分给工作线程");
        part(html, title, &sentence(how), "multiples", &balance::section(lang, run, work, lines.looks));
    }
}

/// Pictures under a heading; nothing where there are none.
fn part(html: &mut String, title: &str, before: &str, class: &str, pictures: &str) {
    if !pictures.is_empty() {
        let _ = writeln!(html, "<h2>{title}</h2>{before}<div class=\"{class}\">{pictures}</div>");
    }
}

fn sentence(text: &str) -> String {
    format!("<p class=\"how\">{text}</p>")
}
