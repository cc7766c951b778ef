//! The points of this library, by number. The library pytstate and the program add names of their own behind them.

macro_rules! points {
    ($($name:ident = $text:literal;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        enum Number { $($name,)+ }
        $(
            #[doc = $text]
            pub(crate) const $name: u16 = Number::$name as u16;
        )+
        /// Names, by number.
        pub(crate) const NAMES: &[&str] = &[$($text,)+];
    };
}

#[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "numbers behind constants")]
mod table {
    points! {
        THREAD_BEGIN = "thread.begin";
        THREAD_END = "thread.end";
        THREAD_GONE = "thread.gone";
        MAIN_END = "main.end";
        OUTSIDE = "outside";
        OUTSIDE_BACK = "outside.back";
        CREATE = "pthread_create";
        JOIN = "pthread_join";
        JOIN_TIMED = "pthread_timedjoin_np";
        JOIN_TRY = "pthread_tryjoin_np";
        DETACH = "pthread_detach";
        EXIT = "pthread_exit";
        CANCEL = "pthread_cancel";
        TESTCANCEL = "pthread_testcancel";
        KILL = "pthread_kill";
        ONCE = "pthread_once";
        ONCE_DONE = "pthread_once.done";
        MUTEX_LOCK = "pthread_mutex_lock";
        MUTEX_TRYLOCK = "pthread_mutex_trylock";
        MUTEX_TIMEDLOCK = "pthread_mutex_timedlock";
        MUTEX_UNLOCK = "pthread_mutex_unlock";
        COND_WAIT = "pthread_cond_wait";
        COND_TIMEDWAIT = "pthread_cond_timedwait";
        COND_SLEEP = "pthread_cond_wait.sleep";
        COND_RELOCK = "pthread_cond_wait.relock";
        COND_SIGNAL = "pthread_cond_signal";
        COND_BROADCAST = "pthread_cond_broadcast";
        RWLOCK_RDLOCK = "pthread_rwlock_rdlock";
        RWLOCK_WRLOCK = "pthread_rwlock_wrlock";
        RWLOCK_TRY = "pthread_rwlock_try";
        RWLOCK_UNLOCK = "pthread_rwlock_unlock";
        BARRIER_WAIT = "pthread_barrier_wait";
        BARRIER_PASSED = "pthread_barrier_wait.passed";
        SEM_WAIT = "sem_wait";
        SEM_TRYWAIT = "sem_trywait";
        SEM_TIMEDWAIT = "sem_timedwait";
        SEM_POST = "sem_post";
        FUTEX_WAIT = "futex.wait";
        FUTEX_SLEEP = "futex.sleep";
        FUTEX_WAKE = "futex.wake";
        YIELD = "sched_yield";
        SLEEP = "sleep";
        POLL = "poll";
        SELECT = "select";
        READ = "read";
        WAITPID = "waitpid";
        PAUSE = "pause";
        FORK = "fork";
        PROCESS_EXIT = "exit";
        PROCESS_EXIT_NOW = "_exit";
        HANG = "hang";
    }
}

pub(crate) use table::*;
