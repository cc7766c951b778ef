//! The life of a thread that uses the library: it is started and joined, or it
//! gets a state by PyGILState or PyThreadState_Ensure, may keep it between
//! calls, and may hand it to another thread.

pub(crate) mod join_cycle;

pub(crate) mod join;

pub(crate) mod wait;

pub(crate) mod names;

pub(crate) mod spawn;

pub(crate) mod keep;

pub(crate) mod gilstate;

pub(crate) mod ensure;

pub(crate) mod rebind;
