//! `-o`: a drawing of one experiment, or a folder with one of each and a page that shows them all.

use super::conduct::Ran;
use super::experiment::Outcome;
use super::picture::Picture;
use super::{svg, tell};
use crate::failure::Failure;
use crate::lang::Lang;
use crate::page::Page;
use crate::report::markup::escape;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Where drawings go.
#[derive(Debug)]
pub enum Place {
    /// One file.
    File(PathBuf),
    /// A folder.
    Folder(PathBuf),
}

impl Place {
    /// What the path means: with --all a folder, else a file that ends in .svg.
    ///
    /// # Errors
    /// A path that means something else (2), a folder that cannot be made (3).
    pub fn of(path: &Path, all: bool) -> Result<Self, Failure> {
        let is_svg = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg"));
        if all || path.is_dir() || !is_svg {
            if all && is_svg || !all && !path.is_dir() {
                let want = if all { "a folder for --all" } else { "FILE.svg, or a folder that is there" };
                return Err(Failure::usage(format!("-o {}: wants {want}", path.display())));
            }
            fs::create_dir_all(path).map_err(|error| refused(path, &error))?;
            return Ok(Place::Folder(path.to_owned()));
        }
        Ok(Place::File(path.to_owned()))
    }

    /// What was written.
    pub fn told(&self) -> String {
        match self {
            Place::File(path) => path.display().to_string(),
            Place::Folder(path) => format!("index.html and the drawings into {}", path.display()),
        }
    }

    /// Writes it.
    pub fn write(&self, all: &[Ran], lang: Lang) -> Result<(), Failure> {
        match self {
            Place::File(path) => {
                let outcome = all.iter().find_map(|ran| ran.outcome.as_ref().ok());
                match outcome.and_then(|outcome| drawing(outcome, lang)) {
                    Some(svg) => put(path, &svg),
                    None if outcome.is_some() => {
                        Err(Failure::usage("-o: this experiment has nothing to draw"))
                    }
                    None => Ok(()), // not possible here: said already
                }
            }
            Place::Folder(folder) => {
                for outcome in all.iter().filter_map(|ran| ran.outcome.as_ref().ok()) {
                    for lang in Lang::BOTH {
                        let ending = lang.pick("svg", "zh.svg");
                        if let Some(svg) = drawing(outcome, lang) {
                            put(&folder.join(format!("{}.{ending}", outcome.lab.name)), &svg)?;
                        }
                    }
                }
                put(&folder.join("index.html"), &page(all, lang))
            }
        }
    }
}

fn put(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| refused(path, &error))
}

fn refused(path: &Path, error: &std::io::Error) -> Failure {
    Failure::cannot(format!("cannot write {}: {error}", path.display()))
}

fn pictures(outcome: &Outcome) -> Vec<&dyn Picture> {
    outcome.pictures.iter().map(|picture| &**picture).collect()
}

fn drawing(outcome: &Outcome, lang: Lang) -> Option<String> {
    let lab = outcome.lab;
    let title = lab.title.pick(lang).to_owned();
    let notes: Vec<String> = lab
        .claims()
        .map(|claim| {
            let words: Vec<&str> = claim.words.split_whitespace().collect();
            format!("{} {}", claim.verdict.mark(), words.join(" "))
        })
        .map(|line| crate::report::markup::cut(&line, svg::WIDTH / 14.0))
        .collect();
    let command = format!("duolu lab {}", lab.name);
    svg::file(&command, &title, &notes, &pictures(outcome), lang)
}

const STYLE: &str = include_str!("page.css");

/// Every experiment on one page, both languages, without a network.
fn page(all: &[Ran], open: Lang) -> String {
    let page = Page { title: "duolu lab", lang: Some(open), styles: &[svg::STYLE, STYLE], script: None };
    page.render(|html, lang| {
        let _ = write!(
            html,
            "<main lang=\"{lang}\" class=\"{}\">\n<h1>duolu lab</h1><p class=\"lead\">{}</p>\n",
            lang.key(),
            lang.pick(
                "The study notes' claims as experiments on real sockets. Everything here was measured when this page was made.",
                "把学习笔记里的每个说法做成真实套接字上的实验。这里的一切都是生成本页时测得的。",
            )
        );
        contents(html, all, lang);
        for ran in all {
            section(html, ran, lang);
        }
        html.push_str("</main>\n");
    })
}

fn contents(html: &mut String, all: &[Ran], lang: Lang) {
    html.push_str("<ul class=\"contents\">");
    for Ran { lab, outcome } in all {
        let sign = match outcome {
            Ok(outcome) if outcome.held() => "✓",
            Ok(_) => "✗",
            Err(_) => "–",
        };
        let _ = write!(
            html,
            "<li><span>{sign}</span> <a href=\"#{}-{}\">{}</a> {}</li>",
            lab.name,
            lang.key(),
            lab.name,
            escape(lab.title.pick(lang))
        );
    }
    html.push_str("</ul>\n");
}

fn section(html: &mut String, ran: &Ran, lang: Lang) {
    let lab = ran.lab;
    let _ = writeln!(
        html,
        "<section id=\"{}-{}\"><h2>{}</h2><p class=\"title\">{}</p>",
        lab.name,
        lang.key(),
        lab.name,
        escape(lab.title.pick(lang))
    );
    for claim in lab.claims() {
        let _ = write!(
            html,
            "<blockquote class=\"{v}\"><p lang=\"zh-CN\">{}</p>{}<footer>{} · {} {}</footer></blockquote>",
            escape(claim.words).replace('\n', "<br>"),
            if lang == Lang::En { format!("<p>{}</p>", escape(claim.english)) } else { String::new() },
            claim.number,
            claim.verdict.mark(),
            claim.verdict.said().pick(lang),
            v = claim.verdict.name(),
        );
    }
    let _ =
        write!(html, "<h3>{}</h3><p>{}</p>", lang.pick("Expected", "预期"), escape(lab.expected.pick(lang)));
    match &ran.outcome {
        Ok(outcome) => {
            if let Some((drawing, tall)) = svg::stack(&pictures(outcome), lang) {
                let _ = write!(
                    html,
                    "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">{drawing}</svg>",
                    svg::WIDTH,
                    tall,
                    escape(lab.title.pick(lang))
                );
            }
            let _ = write!(html, "<h3>{}</h3><ul class=\"facts\">", lang.pick("Observed", "实测"));
            for fact in &outcome.facts {
                let (class, sign) = if fact.holds { ("ok", "✓") } else { ("bad", "✗") };
                let sentence = escape(&fact.sentence(lang));
                let _ = write!(html, "<li class=\"{class}\"><span>{sign}</span> {sentence}</li>");
            }
            html.push_str("</ul>");
        }
        Err(trouble) => {
            let _ = write!(html, "<p class=\"not\">{}</p>", escape(&tell::not_possible(trouble, lang)));
        }
    }
    let _ = writeln!(
        html,
        "<h3>{}</h3><p>{}</p></section>",
        lang.pick("Why", "原因"),
        escape(lab.why.pick(lang))
    );
}
