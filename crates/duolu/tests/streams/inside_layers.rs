//! Freed and replaced inside its own callbacks: a filter, a handshake, and several layers upon one another.

use crate::filters::{Hex, Runs, Sealed};
use crate::replacing::Stack;
use duolu::Layered;

scenarios! {
    fn removed_upon_a_filter(s) {
        Stack { ours: |socket| Layered::new(socket, Hex), far: |socket| Layered::new(socket, Hex), greets: false }
            .is_removed(s);
    }

    fn replaced_upon_a_filter(s) {
        Stack { ours: |socket| Layered::new(socket, Hex), far: |socket| Layered::new(socket, Hex), greets: false }
            .is_replaced(s);
    }

    fn removed_upon_three_layers(s) {
        Stack {
            ours: |socket| Layered::new(Layered::new(Layered::new(socket, Sealed::server()), Hex), Runs::default()),
            far: |socket| Layered::new(Layered::new(Layered::new(socket, Sealed::client()), Hex), Runs::default()),
            greets: true,
        }
        .is_removed(s);
    }

    fn replaced_upon_a_handshake(s) {
        Stack {
            ours: |socket| Layered::new(Layered::new(socket, Sealed::server()), Hex),
            far: |socket| Layered::new(Layered::new(socket, Sealed::client()), Hex),
            greets: true,
        }
        .is_replaced(s);
    }
}
