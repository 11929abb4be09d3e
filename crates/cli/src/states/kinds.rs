//! Few lines of many: some of each kind, so that the one CLOSE-WAIT is not hidden behind a thousand ESTABLISHED.

use super::view::{End, Row, order};

/// Lines that are not shown, by what their ends are in: `ESTABLISHED`, `FIN-WAIT-2 → CLOSE-WAIT`.
pub type Hidden = Vec<(String, usize)>;

/// At most `limit` of the rows, which are in the order of their kinds, shared out among these; what a kind does not use
/// goes to the others.
pub fn some_of_each<'a>(rows: Vec<Row<'a>>, limit: usize) -> (Vec<Row<'a>>, Hidden) {
    if rows.len() <= limit {
        return (rows, Vec::new());
    }
    let kinds: Vec<&[Row<'a>]> = rows.chunk_by(|one, other| order(one) == order(other)).collect();
    let sizes: Vec<usize> = kinds.iter().map(|kind| kind.len()).collect();
    let shares = shares(&sizes, limit);
    let shown = kinds.iter().zip(&shares).flat_map(|(kind, share)| kind[..*share].iter().copied()).collect();
    let hidden = kinds
        .iter()
        .zip(&shares)
        .filter(|(kind, share)| kind.len() > **share)
        .map(|(kind, share)| (name(&kind[0]), kind.len() - share))
        .collect();
    (shown, hidden)
}

/// Equal shares of `limit`, where nobody gets more than there is; the first ones get what does not divide.
fn shares(sizes: &[usize], limit: usize) -> Vec<usize> {
    let mut shares = vec![0; sizes.len()];
    let mut left = limit;
    loop {
        let hungry: Vec<usize> = (0..sizes.len()).filter(|at| shares[*at] < sizes[*at]).collect();
        if hungry.is_empty() || left == 0 {
            return shares;
        }
        let portion = (left / hungry.len()).max(1);
        for at in hungry.into_iter().take(left) {
            let more = portion.min(sizes[at] - shares[at]).min(left);
            shares[at] += more;
            left -= more;
        }
    }
}

fn name(row: &Row<'_>) -> String {
    let state = |end: End<'_>| end.there.socket().map(|socket| socket.tcp.state.name());
    match (state(row.left), state(row.right)) {
        (Some(left), Some(right)) if left != right => format!("{left} → {right}"),
        (left, right) => left.or(right).unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_share() {
        assert_eq!(shares(&[1000, 1, 500], 20), [10, 1, 9]);
        assert_eq!(shares(&[3, 3], 100), [3, 3]);
        assert_eq!(shares(&[5, 5, 5], 2), [1, 1, 0]);
        assert_eq!(shares(&[], 10), Vec::<usize>::new());
        for limit in 0..40 {
            let all = shares(&[7, 30, 1, 2], limit);
            assert_eq!(all.iter().sum::<usize>(), limit.min(40));
        }
    }
}
