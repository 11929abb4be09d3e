//! Where labels stand so that none lies on another: ten lines that end at one place still have ten names.

/// A rectangle: left, top, width, height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Left.
    pub x: f64,
    /// Top.
    pub y: f64,
    /// Width.
    pub w: f64,
    /// Height.
    pub h: f64,
}

impl Rect {
    /// The area that both share.
    pub fn overlap(&self, other: &Rect) -> f64 {
        let w = (self.x + self.w).min(other.x + other.w) - self.x.max(other.x);
        let h = (self.y + self.h).min(other.y + other.h) - self.y.max(other.y);
        if w > 0.0 && h > 0.0 { w * h } else { 0.0 }
    }

    fn has(&self, (x, y): (f64, f64)) -> bool {
        x >= self.x && x <= self.x + self.w && y >= self.y && y <= self.y + self.h
    }

    /// Whether it lies wholly in another.
    pub fn inside(&self, outer: &Rect) -> bool {
        self.x >= outer.x
            && self.y >= outer.y
            && self.x + self.w <= outer.x + outer.w
            && self.y + self.h <= outer.y + outer.h
    }

    /// The point of the rectangle that is nearest to another point.
    pub fn nearest(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (x.clamp(self.x, self.x + self.w), y.clamp(self.y, self.y + self.h))
    }
}

/// The middles of labels in a column, each as near as can be to where it wants to be, none on another, all between
/// `top` and `bottom`; where that is not high enough they close up evenly. `wanted` holds (middle, height).
///
/// Labels that touch move as one block to the mean of what they want (pool adjacent violators): the sum of squared
/// ways is the least possible.
pub fn column(wanted: &[(f64, f64)], top: f64, bottom: f64) -> Vec<f64> {
    struct Block {
        members: Vec<usize>,
        height: f64,
        /// The sum of where each member wants the block's top.
        tops: f64,
    }
    let total: f64 = wanted.iter().map(|(_, height)| height).sum();
    let shrink = if total > bottom - top { (bottom - top) / total } else { 1.0 };
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].0.total_cmp(&wanted[*b].0));
    let start = |block: &Block| {
        (block.tops / block.members.len() as f64).clamp(top, (bottom - block.height).max(top))
    };
    let mut blocks: Vec<Block> = Vec::new();
    for at in order {
        let height = wanted[at].1 * shrink;
        let mut block = Block { members: vec![at], height, tops: wanted[at].0 - height / 2.0 };
        while let Some(above) = blocks.pop_if(|above| start(above) + above.height > start(&block)) {
            block.tops = above.tops + block.tops - above.height * block.members.len() as f64;
            block.height += above.height;
            block.members.splice(0..0, above.members);
        }
        blocks.push(block);
    }
    let mut middles = vec![0.0; wanted.len()];
    for block in &blocks {
        let mut y = start(block);
        for &member in &block.members {
            let height = wanted[member].1 * shrink;
            middles[member] = y + height / 2.0;
            y += height;
        }
    }
    middles
}

/// A place for a label of this size near a point: inside `room`, on no other label, and where it covers the least
/// of what is drawn (`ink`: points on the lines).
pub fn place(point: (f64, f64), size: (f64, f64), room: &Rect, taken: &[Rect], ink: &[(f64, f64)]) -> Rect {
    let mut best: Option<(f64, Rect)> = None;
    for ring in 0..9 {
        let away = 12.0 + 20.0 * f64::from(ring);
        for turn in 0..16 {
            let angle = f64::from(turn) * std::f64::consts::PI / 8.0;
            // The label's side that faces the point stands `away` from it.
            let (dx, dy) = (angle.cos(), angle.sin());
            let (x, y) = (
                point.0 + dx * away + (dx - 1.0) * size.0 / 2.0,
                point.1 + dy * away + (dy - 1.0) * size.1 / 2.0,
            );
            let rect = Rect { x, y, w: size.0, h: size.1 };
            if !rect.inside(room) {
                continue;
            }
            let wide = Rect { x: x - 4.0, y: y - 3.0, w: size.0 + 8.0, h: size.1 + 6.0 };
            let on_labels: f64 = taken.iter().map(|other| wide.overlap(other)).sum();
            let on_ink = ink.iter().filter(|point| wide.has(**point)).count() as f64;
            let cost = on_labels * 50.0 + on_ink * 12.0 + away;
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, rect));
            }
        }
    }
    let corner = Rect {
        x: point.0.min(room.x + room.w - size.0).max(room.x),
        y: (point.1 + 8.0).min(room.y + room.h - size.1).max(room.y),
        w: size.0,
        h: size.1,
    };
    best.map_or(corner, |(_, rect)| rect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_labels_that_want_one_place_stand_below_each_other_around_it() {
        let middles = column(&[(200.0, 15.0); 10], 0.0, 400.0);
        for (one, next) in middles.iter().zip(&middles[1..]) {
            assert!((next - one - 15.0).abs() < 1e-9, "{middles:?}");
        }
        let mean: f64 = middles.iter().sum::<f64>() / 10.0;
        assert!((mean - 200.0).abs() < 1e-9, "{mean}");
    }

    #[test]
    fn a_column_keeps_the_order_and_its_bounds_even_when_it_is_too_low() {
        let wanted: Vec<(f64, f64)> = [90.0, 10.0, 95.0, 11.0, 50.0, 400.0].map(|y| (y, 30.0)).to_vec();
        for bottom in [100.0, 200.0] {
            let middles = column(&wanted, 0.0, bottom);
            assert!(middles.iter().all(|y| (0.0..=bottom).contains(y)), "{middles:?}");
            let mut by_place: Vec<usize> = (0..6).collect();
            by_place.sort_by(|a, b| middles[*a].total_cmp(&middles[*b]));
            assert_eq!(by_place, [1, 3, 4, 0, 2, 5]);
        }
        assert_eq!(column(&[(50.0, 10.0)], 0.0, 100.0), [50.0], "alone it gets what it wants");
    }

    #[test]
    fn a_label_avoids_labels_and_lines() {
        let room = Rect { x: 0.0, y: 0.0, w: 400.0, h: 300.0 };
        let first = place((200.0, 150.0), (80.0, 30.0), &room, &[], &[]);
        let second = place((200.0, 150.0), (80.0, 30.0), &room, &[first], &[]);
        assert_eq!(first.overlap(&second), 0.0);
        let line: Vec<(f64, f64)> = (0..400).map(|x| (f64::from(x), 150.0)).collect();
        let beside = place((200.0, 150.0), (80.0, 30.0), &room, &[], &line);
        assert!(line.iter().all(|point| !beside.has(*point)), "{beside:?}");
        assert!(place((399.0, 299.0), (80.0, 30.0), &room, &[], &[]).inside(&room));
    }
}
