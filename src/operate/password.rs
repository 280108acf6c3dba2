//! Hashing passwords: Argon2id, which takes memory and time on purpose, so that a stolen store tells no password.
//!
//! SECURITY: it takes them from us as well. Two hashings go on at once, on threads of their own; few wait, others are sent
//! away at once. Nobody is locked out by that: a sign-in link needs no hashing.

use std::sync::Arc;
use std::thread;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, oneshot};

use crate::model::Secret;
use crate::model::access::PasswordHash;

/// Too many wait to have a password hashed, or there is no memory for it.
#[derive(Debug)]
pub(super) struct Crowded;

/// Where hashings take their turns. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Passwords {
    /// At work or waiting.
    inside: Arc<Semaphore>,
    at_work: Arc<Semaphore>,
}

impl Passwords {
    /// Nobody is inside.
    pub(super) fn new() -> Passwords {
        Passwords { inside: Arc::new(Semaphore::new(AT_WORK + WAITING)), at_work: Arc::new(Semaphore::new(AT_WORK)) }
    }

    /// What is kept of a new password.
    pub(super) async fn keep(&self, password: Secret, salt: [u8; 16]) -> Result<PasswordHash, Crowded> {
        let hash = self.hash(password, salt, COST).await?;
        Ok(PasswordHash { salt, hash, cost: COST })
    }

    /// Whether this is the password that is kept.
    pub(super) async fn is(&self, password: Secret, kept: &PasswordHash) -> Result<bool, Crowded> {
        let hash = self.hash(password, kept.salt, kept.cost).await?;
        Ok(hash.ct_eq(&kept.hash).into())
    }

    async fn hash(&self, password: Secret, salt: [u8; 16], (memory, passes): (u32, u32)) -> Result<[u8; 32], Crowded> {
        let inside = Arc::clone(&self.inside).try_acquire_owned().map_err(|_| Crowded)?;
        let turn = Arc::clone(&self.at_work).acquire_owned().await.map_err(|_| Crowded)?;
        let (tell, told) = oneshot::channel();
        let work = move || {
            // Whoever hangs up leaves the work behind, and with it the turn.
            let hash = argon2id(&password, salt, memory, passes);
            drop((inside, turn));
            let _ = tell.send(hash);
        };
        // Not one of those threads that read the store: they have other work.
        thread::Builder::new().stack_size(STACK).spawn(work).map_err(|_| Crowded)?;
        told.await.map_err(|_| Crowded)?.map_err(|_| Crowded)
    }
}

/// Hashes in memory on the stack: that of a thread goes back to the system with it, while the allocator would keep
/// much of what is freed.
#[expect(clippy::large_stack_arrays, clippy::large_stack_frames, reason = "only called on a stack that is made for it")]
fn argon2id(password: &Secret, salt: [u8; 16], memory: u32, passes: u32) -> argon2::Result<[u8; 32]> {
    let mut hash = [0; 32];
    let mut blocks = [Block::new(); COST.0 as usize];
    let params = Params::new(memory, passes, 1, Some(hash.len()))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into_with_memory(password.expose().as_bytes(), &salt, &mut hash, &mut blocks[..])?;
    Ok(hash)
}

/// In bytes: the memory, once more for a build that copies it there, and what else is called.
const STACK: usize = 2 * COST.0 as usize * Block::SIZE + 1024 * 1024;

/// Memory in KiB, and passes: OWASP's numbers for Argon2id with one lane.
const COST: (u32, u32) = (19 * 1024, 2);

/// Hashings at once: two take 38 MiB for a moment, which a small machine has.
const AT_WORK: usize = 2;

/// How many wait for a turn, a few seconds at most.
const WAITING: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again() {
        let passwords = Passwords::new();
        let kept = passwords.keep(Secret::new("correct horse"), [7; 16]).await.unwrap();
        assert!(passwords.is(Secret::new("correct horse"), &kept).await.unwrap());
        assert!(!passwords.is(Secret::new("correct house"), &kept).await.unwrap());
        let salted = passwords.keep(Secret::new("correct horse"), [8; 16]).await.unwrap();
        assert_ne!(salted.hash, kept.hash);
    }

    #[tokio::test]
    async fn few_wait_and_others_are_sent_away() {
        let passwords = Passwords::new();
        let kept = passwords.keep(Secret::new("correct horse"), [7; 16]).await.unwrap();
        let all = (0..20).map(|_| passwords.is(Secret::new("guess"), &kept));
        let all = futures_util::future::join_all(all).await;
        let refused = all.iter().filter(|answer| answer.is_err()).count();
        assert_eq!(refused, 20 - AT_WORK - WAITING);
        assert!(passwords.is(Secret::new("correct horse"), &kept).await.unwrap(), "afterwards there is room");
    }

    /// The threads that read the store are few, and shall not wait for guesses.
    #[test]
    fn hashing_takes_no_thread_from_others() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        let (let_go, wait) = std::sync::mpsc::channel::<()>();
        runtime.block_on(async {
            let busy = tokio::task::spawn_blocking(move || wait.recv());
            assert!(Passwords::new().keep(Secret::new("correct horse"), [7; 16]).await.is_ok());
            let_go.send(()).unwrap();
            busy.await.unwrap().unwrap();
        });
    }
}
