//! How connections fell to the workers of a server.

use super::figures::whole;
use super::look::Look;
use super::markup::escape;
use super::run::{Run, Work};
use super::sections::named;
use crate::lang::Lang;
use std::fmt::Write;

/// The connections that each worker had, as bars; models without several workers have none.
pub fn section(lang: Lang, run: &Run, work: &Work, looks: &[(String, Look)]) -> String {
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
        let _ = writeln!(
            html,
            "<figure><figcaption>{} <small>{} – {}</small></figcaption><svg class=\"bars {look}\" viewBox=\"0 0 300 {:.1}\" role=\"img\" aria-label=\"{}\">{bars}<path class=\"even\" d=\"M{x:.1} 0V{:.1}\"/></svg></figure>",
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
