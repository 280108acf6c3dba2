use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;

/// Keys and tokens lie in this memory: no core dump is written, and other processes of the same user can
/// neither look into it nor into the environment that was handed in.
pub(super) fn keep_to_itself() {
    let limited = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    if let Err(error) = limited.and(set_dumpable_behavior(DumpableBehavior::NotDumpable)) {
        tracing::warn!(%error, "a crash may leave a core dump that holds secrets");
    }
}

/// No program that this one could be made to start gains rights that it has not. To be said before there are
/// threads, which take it over (prctl(2), PR_SET_NO_NEW_PRIVS).
pub(super) fn gain_nothing() {
    if let Err(error) = set_no_new_privs(true) {
        tracing::warn!(%error, "the system does not promise that this process gains no rights");
    }
}
