//! The drawing's geometry and words.

use super::*;
use crate::report::labels::Rect;
use crate::report::markup::ems;
use crate::states::diagram::How;
use std::time::Duration;

/// Text sizes: causes and figures, and what they are to the program.
const CAUSE: f64 = 13.5;
const PROGRAM: f64 = 12.0;

#[test]
fn texts_are_as_large_as_they_are_measured() {
    let style = include_str!("drawing.css");
    for (class, size) in [("cause", CAUSE), ("program", PROGRAM), ("name", 13.5), ("note", 11.5)] {
        assert!(style.contains(&format!(".diagram .{class} {{ font-size: {size}px;")), "{class}");
    }
}

/// Everything moves, with the widest figures there are.
fn busy() -> Picture {
    let mut picture = Picture::empty(How::Traced { lost: 0 });
    for state in TcpState::ALL {
        picture.set(state, 999_999);
    }
    for edge in Edge::ALL {
        picture.lately.take_many(edge, 12_345);
        picture.since.take_many(edge, 12_345);
    }
    (picture.span, picture.queue, picture.stale) = (Duration::from_secs(1), Some((4096, 4096)), 12_345);
    picture
}

fn text((x, y): (f64, f64), anchor: Anchor, text: &str, size: f64) -> Rect {
    let w = ems(text) * size;
    let x = match anchor {
        Anchor::Start => x,
        Anchor::Middle => x - w / 2.0,
        Anchor::End => x - w,
    };
    Rect { x, y: y - size * 0.8, w, h: size }
}

/// A line's straight pieces, as wide as a line can be.
fn pieces(way: &[(f64, f64)]) -> Vec<Rect> {
    let half = thickness(1e9) / 2.0;
    way.windows(2)
        .map(|pair| {
            let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
            Rect {
                x: x1.min(x2) - half,
                y: y1.min(y2) - half,
                w: (x1 - x2).abs() + 2.0 * half,
                h: (y1 - y2).abs() + 2.0 * half,
            }
        })
        .collect()
}

#[test]
fn nothing_lies_on_anything_else() {
    let picture = busy();
    let boxes: Vec<(String, Rect)> = nodes()
        .into_iter()
        .map(|(state, x, y)| (state.to_string(), Rect { x, y, w: BOX.0, h: BOX.1 }))
        .collect();
    for lang in Lang::BOTH {
        let mut texts = Vec::new();
        for edge in Edge::ALL {
            let line = line(edge);
            let cause = match figure(edge, &picture) {
                Some(figure) => format!("{} {figure}", edge.cause(lang)),
                None => edge.cause(lang),
            };
            texts.push((format!("{edge:?} cause"), text(line.cause, line.anchor, &cause, CAUSE)));
            let program = text(line.program, line.anchor, edge.program(lang), PROGRAM);
            texts.push((format!("{edge:?} program"), program));
        }
        let lines = Edge::ALL
            .into_iter()
            .flat_map(|edge| pieces(&line(edge).way).into_iter().map(move |r| (format!("{edge:?}"), r)));
        let others: Vec<(String, Rect)> = lines.chain(boxes.clone()).collect();
        for (at, (name, rect)) in texts.iter().enumerate() {
            let room = Rect { x: 0.0, y: 0.0, w: SIZE.0, h: SIZE.1 };
            assert!(rect.inside(&room), "{name} in {lang} leaves the drawing: {rect:?}");
            for (other, place) in others.iter().chain(&texts[at + 1..]) {
                assert!(rect.overlap(place) == 0.0, "{name} lies on {other} in {lang}: {rect:?} {place:?}");
            }
        }
    }
}

#[test]
fn lines_neither_share_their_way_nor_cross_a_state() {
    let all: Vec<(Edge, Vec<Rect>)> =
        Edge::ALL.into_iter().map(|edge| (edge, pieces(&line(edge).way))).collect();
    for (at, (edge, one)) in all.iter().enumerate() {
        for (other, two) in &all[at + 1..] {
            let crossed = one.iter().any(|rect| two.iter().any(|other| rect.overlap(other) > 0.0));
            assert!(!crossed, "{edge:?} and {other:?}");
        }
        for (state, x, y) in nodes() {
            let inner = Rect { x: x + 4.0, y: y + 4.0, w: BOX.0 - 8.0, h: BOX.1 - 8.0 };
            assert!(one.iter().all(|rect| rect.overlap(&inner) == 0.0), "{edge:?} and {state}");
        }
    }
}

#[test]
fn a_line_begins_and_ends_at_its_states() {
    for edge in Edge::ALL {
        let way = line(edge).way;
        let touches = |state: TcpState, (px, py): (f64, f64)| {
            nodes()
                .into_iter()
                .filter(|node| node.0 == state)
                .any(|(_, x, y)| (x..=x + BOX.0).contains(&px) && (y..=y + BOX.1).contains(&py))
        };
        assert!(touches(edge.from(), way[0]), "{edge:?}");
        assert!(touches(edge.to(), way[way.len() - 1]), "{edge:?}");
    }
}

#[test]
fn what_stands_in_a_state_fits_its_box() {
    let picture = busy();
    for lang in Lang::BOTH {
        for state in TcpState::ALL {
            let note = note(state, &picture, lang).unwrap_or_default();
            let used = ems(&note) * 11.5 + ems(state.name()) * 13.5 + 24.0;
            assert!(used <= BOX.0, "{state} in {lang}: {used}");
        }
    }
}

#[test]
fn the_sentence_says_what_the_picture_shows() {
    let mut picture = Picture::empty(How::Sampled { refused: None });
    picture.set(TcpState::Listen, 1);
    assert_eq!(sentence(&picture, Lang::En), "Sockets: LISTEN 1. Transitions: none.");
    picture.since.take(Edge::ActiveOpen);
    let said = sentence(&picture, Lang::Zh);
    assert_eq!(said, "套接字：LISTEN 1。状态转换：CLOSED → SYN-SENT (connect() → SYN) ×1。");
}
