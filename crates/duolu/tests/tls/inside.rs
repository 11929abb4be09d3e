//! Freed and replaced inside its own callbacks: TLS, TLS over a filter, and a filter over TLS.

use crate::ca::{client, server};
use crate::replacing::Stack;
use crate::stage::Socket;
use duolu::buffer::Buffer;
use duolu::stream::{Filter, Flow, LayerError, Layered, Transport};
use duolu::tls::Tls;

/// Every byte is another one.
fn masked(from: &mut Buffer, to: &mut Buffer, _: Flow) -> Result<(), LayerError> {
    let mut bytes = from.remove_vec(from.len())?;
    bytes.iter_mut().for_each(|byte| *byte ^= 0x5A);
    Ok(to.append_vec(bytes)?)
}

fn filtered<T: Transport>(socket: T) -> impl Transport {
    Layered::new(socket, Filter::new(masked, masked))
}

fn accepting<T: Transport>(socket: T) -> Layered<T, Tls> {
    server().accept(socket).expect("a session")
}

fn asking<T: Transport>(socket: T) -> Layered<T, Tls> {
    client().connect(socket, "server.test").expect("a session")
}

scenarios! {
    fn removed_upon_tls(s) {
        Stack { ours: accepting::<Socket>, far: asking::<Socket>, greets: true }.is_removed(s);
    }

    fn replaced_upon_tls(s) {
        Stack { ours: accepting::<Socket>, far: asking::<Socket>, greets: true }.is_replaced(s);
    }

    fn a_client_removed_upon_tls(s) {
        Stack { ours: asking::<Socket>, far: accepting::<Socket>, greets: true }.is_removed(s);
    }

    fn removed_upon_tls_over_a_filter(s) {
        let ours = |socket: Socket| accepting(filtered(socket));
        Stack { ours, far: |socket: Socket| asking(filtered(socket)), greets: true }.is_removed(s);
    }

    fn replaced_upon_tls_over_a_filter(s) {
        let ours = |socket: Socket| accepting(filtered(socket));
        Stack { ours, far: |socket: Socket| asking(filtered(socket)), greets: true }.is_replaced(s);
    }

    fn removed_upon_a_filter_over_tls(s) {
        let ours = |socket: Socket| filtered(accepting(socket));
        Stack { ours, far: |socket: Socket| filtered(asking(socket)), greets: true }.is_removed(s);
    }

    fn replaced_upon_a_filter_over_tls(s) {
        let ours = |socket: Socket| filtered(accepting(socket));
        Stack { ours, far: |socket: Socket| filtered(asking(socket)), greets: true }.is_replaced(s);
    }
}
