//! The queue of the reference programs: the same as the store's, in front of one writer thread.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::event::Event;
use crate::load::Keeps;

const QUEUE: usize = 4096;
const BATCH: usize = 1024;

type Job = (Arc<Event>, oneshot::Sender<()>);

/// The way to the writer. The thread ends with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Queue(mpsc::Sender<Job>);

impl Queue {
    /// `write` makes a batch durable.
    pub(crate) fn start(mut write: impl FnMut(&[Job]) -> anyhow::Result<()> + Send + 'static) -> Queue {
        let (sender, mut receiver) = mpsc::channel::<Job>(QUEUE);
        std::thread::spawn(move || {
            let mut jobs = Vec::with_capacity(BATCH);
            while receiver.blocking_recv_many(&mut jobs, BATCH) > 0 {
                write(&jobs).expect("a reference program cannot write");
                for (_, answer) in jobs.drain(..) {
                    let _ = answer.send(());
                }
            }
        });
        Queue(sender)
    }
}

impl Keeps for Queue {
    async fn keep(&self, event: &Arc<Event>) {
        let (sender, answer) = oneshot::channel();
        self.0.send((event.clone(), sender)).await.expect("the writer has gone");
        answer.await.expect("the writer has gone");
    }
}
