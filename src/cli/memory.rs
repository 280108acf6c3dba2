use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keys and tokens lie in this memory: no core dump is written, and other processes of the same user can
/// neither look into it nor into the environment that was handed in.
pub(super) fn keep_to_itself() {
    let limited = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    if let Err(error) = limited.and(set_dumpable_behavior(DumpableBehavior::NotDumpable)) {
        tracing::warn!(%error, "a crash may leave a core dump that holds secrets");
    }
}
