//! Work that hardly ever waits, without a task.

use std::future::Future;

use futures::FutureExt as _;
use tokio::runtime::Handle;

/// Does as much as can be done at once, on this thread; what must wait goes on as a task of the
/// runtime. A task costs some microseconds and often the waking of a thread, which is a lot to send a
/// message that only has to be put into a queue.
///
/// The work must not need the runtime before it first waits: this thread may be no part of it.
pub fn run_or_spawn(runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
    let mut work = Box::pin(work);
    if (&mut work).now_or_never().is_none() {
        runtime.spawn(work);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn what_can_be_done_is_done_and_the_rest_is_done_later() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (say, said) = mpsc::channel();
        let (go, wait) = oneshot::channel::<()>();
        let first = say.clone();
        run_or_spawn(runtime.handle(), async move {
            first.send("begun").unwrap();
            wait.await.unwrap();
            first.send("ended").unwrap();
        });
        assert_eq!(said.try_recv(), Ok("begun"), "on this thread");
        go.send(()).unwrap();
        assert_eq!(said.recv_timeout(std::time::Duration::from_secs(20)), Ok("ended"));
        run_or_spawn(runtime.handle(), async move { say.send("at once").unwrap() });
        assert_eq!(said.try_recv(), Ok("at once"));
    }
}
