//! What each line looks like: a colour, a dash and a marker, so that no two lines differ by colour alone. Families
//! share a hue: a process or thread for each connection is orange, select and poll violet, epoll blue, io_uring
//! green; a server of your own is red, and others follow.

use super::markup::px;

/// How a line is drawn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Look {
    /// The CSS class that sets the colour.
    pub class: String,
    /// `stroke-dasharray`, empty for a whole line.
    pub dash: &'static str,
    /// The shape at each point.
    pub marker: Marker,
}

/// A shape of about nine pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Marker {
    Circle,
    Square,
    Diamond,
    Up,
    Down,
    Plus,
}

const KNOWN: [(&str, &str, Marker); 10] = [
    ("fork", "", Marker::Square),
    ("prefork", "2 3", Marker::Diamond),
    ("thread", "7 3", Marker::Up),
    ("select", "", Marker::Down),
    ("poll", "6 3", Marker::Square),
    ("epoll-lt", "", Marker::Circle),
    ("epoll-et", "8 3", Marker::Diamond),
    ("epoll-oneshot", "2 3", Marker::Up),
    ("io_uring-poll", "7 3 2 3", Marker::Square),
    ("io_uring", "", Marker::Diamond),
];

const OTHERS: [(&str, Marker); 8] = [
    ("", Marker::Plus),
    ("7 3", Marker::Circle),
    ("", Marker::Up),
    ("2 3", Marker::Square),
    ("10 3 2 3", Marker::Down),
    ("", Marker::Diamond),
    ("5 2", Marker::Plus),
    ("2 2", Marker::Circle),
];

/// The looks of all lines of a report, by their order in it.
pub fn looks(models: &[&str]) -> Vec<Look> {
    let mut others = 0;
    let mut look = |model: &&str| {
        if let Some((name, dash, marker)) = KNOWN.into_iter().find(|(name, ..)| name == model) {
            return Look { class: format!("m-{name}"), dash, marker };
        }
        let (dash, marker) = OTHERS[others % OTHERS.len()];
        let class = format!("m-other{}", others % OTHERS.len());
        others += 1;
        Look { class, dash, marker }
    };
    models.iter().map(&mut look).collect()
}

impl Marker {
    /// The path of the shape around a point; `size` is half its width.
    pub fn path(self, (x, y): (f64, f64), size: f64) -> String {
        let at = |dx: f64, dy: f64| format!("{} {}", px(x + dx * size), px(y + dy * size));
        let polygon = |corners: &[(f64, f64)]| {
            let corners: Vec<String> = corners.iter().map(|(dx, dy)| at(*dx, *dy)).collect();
            format!("M{}Z", corners.join("L"))
        };
        match self {
            Marker::Circle => {
                let (r, wide) = (px(size), px(size * 2.0));
                format!("M{}a{r} {r} 0 1 0 {wide} 0a{r} {r} 0 1 0 -{wide} 0Z", at(-1.0, 0.0))
            }
            Marker::Square => polygon(&[(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]),
            Marker::Diamond => polygon(&[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)]),
            Marker::Up => polygon(&[(0.0, -1.2), (1.15, 0.85), (-1.15, 0.85)]),
            Marker::Down => polygon(&[(0.0, 1.2), (1.15, -0.85), (-1.15, -0.85)]),
            Marker::Plus => polygon(&[
                (-0.4, -1.2),
                (0.4, -1.2),
                (0.4, -0.4),
                (1.2, -0.4),
                (1.2, 0.4),
                (0.4, 0.4),
                (0.4, 1.2),
                (-0.4, 1.2),
                (-0.4, 0.4),
                (-1.2, 0.4),
                (-1.2, -0.4),
                (-0.4, -0.4),
            ]),
        }
    }
}

/// The cross at which a line ends.
pub fn cross((x, y): (f64, f64), size: f64) -> String {
    let (left, right, top, bottom) = (px(x - size), px(x + size), px(y - size), px(y + size));
    format!("M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_lines_differ_by_colour_alone() {
        let others = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let models: Vec<&str> = KNOWN.iter().map(|known| known.0).chain(others).collect();
        let looks = looks(&models);
        let family = |look: &Look| match look.class.as_str() {
            "m-fork" | "m-prefork" | "m-thread" => 0,
            "m-select" | "m-poll" => 1,
            name if name.starts_with("m-epoll") => 2,
            name if name.starts_with("m-io") => 3,
            _ => 4,
        };
        for (at, one) in looks.iter().enumerate() {
            for other in &looks[at + 1..] {
                if family(one) == family(other) {
                    assert!((one.dash, one.marker) != (other.dash, other.marker), "{one:?} {other:?}");
                }
            }
        }
    }
}
