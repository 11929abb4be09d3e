//! Signals as events: the process-wide hub's descriptor is an internal event of the loop.

use crate::context::Context;
use crate::error::Error;
use crate::object::{Cause, OnActive};
use crate::options::Next;
use duolu_core::{EventSpec, Interest, Timeout};
use duolu_sys::signal::SignalHub;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;

/// One loop's subscription to signals, opened with the first one it watches.
pub(crate) struct SignalWatch {
    hub: Rc<SignalHub>,
    /// How many events watch each signal.
    watchers: Vec<(i32, u32)>,
}

impl SignalWatch {
    fn open<D: 'static>(ctx: &mut Context<D>) -> Result<(), Error> {
        let hub = SignalHub::new().map_err(|errno| io::Error::from_raw_os_error(errno.0))?;
        let hub = Rc::new(hub);
        let fd = hub.as_fd().as_raw_fd();
        let spec = EventSpec { owned: true, internal: true, ..EventSpec::fd(fd, Interest::READ) };
        let arrived = Rc::clone(&hub);
        let object = OnActive(move |ctx: &mut Context<D>, _: Cause| {
            arrived.take(|signo, count| ctx.engine.deliver_signal(signo, count));
            Next::Keep
        });
        ctx.install(spec, Timeout::Keep, Box::new(object))?;
        ctx.signals = Some(SignalWatch { hub, watchers: Vec::new() });
        Ok(())
    }

    /// Another event watches `signo`.
    pub(crate) fn subscribe<D: 'static>(ctx: &mut Context<D>, signo: i32) -> Result<(), Error> {
        if ctx.signals.is_none() {
            SignalWatch::open(ctx)?;
        }
        let Some(watch) = &mut ctx.signals else { return Ok(()) };
        if let Some((_, watchers)) = watch.watchers.iter_mut().find(|(watched, _)| *watched == signo) {
            *watchers += 1;
            return Ok(());
        }
        watch.hub.subscribe(signo).map_err(|error| {
            let errno = io::Error::from_raw_os_error(error.errno().0);
            Error::Io(io::Error::new(errno.kind(), error.to_string()))
        })?;
        watch.watchers.push((signo, 1));
        Ok(())
    }

    /// One event fewer watches `signo`; the last one restores its former action.
    pub(crate) fn unsubscribe<D: 'static>(ctx: &mut Context<D>, signo: i32) {
        let Some(watch) = &mut ctx.signals else { return };
        let Some(position) = watch.watchers.iter().position(|(watched, _)| *watched == signo) else { return };
        watch.watchers[position].1 -= 1;
        if watch.watchers[position].1 == 0 {
            watch.watchers.swap_remove(position);
            watch.hub.unsubscribe(signo);
        }
    }

    pub(crate) fn reinit(&mut self) -> io::Result<()> {
        self.hub.reinit().map_err(|errno| io::Error::from_raw_os_error(errno.0))
    }
}
