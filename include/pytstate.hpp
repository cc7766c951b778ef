/* pytstate.hpp: pytstate.h for C++17 and later, with scopes.
 *
 * Header only; everything is in namespace `pytstate` and is a thin layer over
 * the C API, which remains usable beside it. Each class does in its constructor
 * what must be undone, and undoes it in its destructor:
 *
 *   Runtime       initialize ... finalize
 *   Interpreter   a sub-interpreter ... its end
 *   Thread        start ... join
 *   Detached      detach ... attach
 *   Attached      attach a foreign thread, if it may ... release
 *   View, Guard   take ... close
 *   Blocking      detach, leave an unblock function ... attach
 *   Pause         stop the world ... start it
 *   Mutex, Event  PyMutex, PyEvent (Mutex works with std::lock_guard)
 *
 * Errors are exceptions of type pytstate::Error, except where a refusal is an
 * ordinary outcome: those return std::optional. No exception may leave a
 * function that the library calls; a Thread whose function throws ends the
 * process, as a std::thread does.
 *
 * Late threads: a destructor that attaches (Detached, Blocking) does not return
 * if the interpreter has committed its finalization meanwhile. The default
 * policy hangs the thread. PyTState_LATE_EXIT would unwind through a
 * destructor, which C++ does not allow: do not choose it in a program that uses
 * this header.
 */
#ifndef PYTSTATE_HPP
#define PYTSTATE_HPP

#if !(__cplusplus >= 201703L || (defined(_MSVC_LANG) && _MSVC_LANG >= 201703L))
#error "pytstate.hpp needs C++17; pytstate.h can be used from C++11 on"
#endif

#include "pytstate.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace pytstate {

/** A call of the library failed; what() is its message. */
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;

    /** The error that the calling thread has set, which is then cleared; or
     * `otherwise` if it has set none. */
    static Error taken(const char *otherwise) {
        const bool set = PyThreadState_GetUnchecked() != nullptr &&
                         PyErr_Occurred() != nullptr;
        const char *text = set ? PyTState_ErrMessage() : nullptr;
        Error error(text != nullptr && *text != '\0' ? text : otherwise);
        if (set)
            PyErr_Clear();
        return error;
    }
};

namespace detail {

/** Nanoseconds of a length of time; one that does not fit is the longest. */
template <class Rep, class Period>
PyTime_t nanoseconds(std::chrono::duration<Rep, Period> time) {
    constexpr PyTime_t most = INT64_MAX;
    const std::chrono::duration<double> seconds = time;
    if (seconds.count() <= 0)
        return 0;
    if (seconds.count() >= static_cast<double>(most) / 1e9)
        return most;
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
}

inline void check(const PyStatus &status) {
    if (PyStatus_Exception(status))
        throw Error(status.err_msg != nullptr ? status.err_msg : "failed");
}

} // namespace detail

/** The runtime, from here to the end of the scope. The calling thread becomes
 * the main thread and is attached. There is one at a time. */
class Runtime {
  public:
    /** With the default settings and no signal handlers. */
    Runtime() : Runtime(PyTState_Config{}) {}
    /** With settings; the `size` member is filled in. Throws Error if the
     * runtime is initialized already, or if a setting is refused. */
    explicit Runtime(PyTState_Config config) {
        if (Py_IsInitialized())
            throw Error("the runtime is initialized already");
        config.size = sizeof(config);
        detail::check(PyTState_Initialize(&config));
    }
    /** Finalizes, if finalize() was not called: waits for non-daemon threads
     * and open guards. */
    ~Runtime() { finalize(); }
    Runtime(const Runtime &) = delete;
    Runtime &operator=(const Runtime &) = delete;

    /** Finalizes now. Returns what Py_FinalizeEx() returns: 0, or -1. */
    int finalize() noexcept {
        return std::exchange(live_, false) ? Py_FinalizeEx() : 0;
    }

  private:
    bool live_ = true;
};

/** A sub-interpreter. The state that was attached stays attached; use enter()
 * to run in the new one. */
class Interpreter {
  public:
    /** The settings of an isolated interpreter: a GIL of its own, no fork, no
     * daemon threads. */
    static PyInterpreterConfig isolated() noexcept {
        return PyInterpreterConfig _PyInterpreterConfig_INIT;
    }

    /** Attached. Throws Error if it cannot be made. */
    explicit Interpreter(const PyInterpreterConfig &config = isolated()) {
        PyThreadState *const before = PyThreadState_Get();
        const PyStatus status = Py_NewInterpreterFromConfig(&first_, &config);
        detail::check(status);
        interp_ = PyThreadState_GetInterpreter(first_);
        PyThreadState_Swap(before);
    }
    /** Ends it, on the thread that made it: waits for its non-daemon threads
     * and its guards. */
    ~Interpreter() {
        PyThreadState *const before = PyThreadState_Swap(first_);
        Py_EndInterpreter(first_);
        PyThreadState_Swap(before);
    }
    Interpreter(const Interpreter &) = delete;
    Interpreter &operator=(const Interpreter &) = delete;

    /** The interpreter, for calls of the C API. */
    PyInterpreterState *get() const noexcept { return interp_; }

    /** Calls `function` attached to this interpreter, on the thread that made
     * it, and returns what it returns. */
    template <class Function> decltype(auto) enter(Function &&function) {
        struct Back {
            PyThreadState *before;
            ~Back() { PyThreadState_Swap(before); }
        } const back{PyThreadState_Swap(first_)};
        return std::forward<Function>(function)();
    }

  private:
    PyThreadState *first_ = nullptr;
    PyInterpreterState *interp_ = nullptr;
};

/** While it lives, the calling thread is detached, so that others can run.
 * Attached when it is made. */
class Detached {
  public:
    Detached() noexcept : state_(PyEval_SaveThread()) {}
    ~Detached() { PyEval_RestoreThread(state_); }
    Detached(const Detached &) = delete;
    Detached &operator=(const Detached &) = delete;

  private:
    PyThreadState *state_;
};

/** As Detached, for a call that blocks in the OS: `unblock` is called, on
 * another thread, when a finalization waits for this one. */
class Blocking {
  public:
    explicit Blocking(std::function<void()> unblock)
        : unblock_(std::move(unblock)) {
        if (PyTState_BeginBlocking(call, this) != 0)
            throw Error("blocking regions do not nest");
    }
    ~Blocking() { PyTState_EndBlocking(); }
    Blocking(const Blocking &) = delete;
    Blocking &operator=(const Blocking &) = delete;

  private:
    static void call(void *self) noexcept {
        static_cast<Blocking *>(self)->unblock_();
    }
    std::function<void()> unblock_;
};

/** A thread of an interpreter, joined by its destructor. */
class Thread {
  public:
    /** Whether finalization waits for the thread. */
    enum class Daemon { no, yes };

    /** Starts `function` on a new OS thread, attached to a state of its own.
     * Throws Error if there is none to be had. */
    template <class Function>
    Thread(PyInterpreterState *interp, Function function,
           Daemon daemon = Daemon::no)
        : handle_(PyThreadHandle_New()) {
        if (handle_ == nullptr)
            throw Error("no memory for a thread's handle");
        auto body =
            std::make_unique<std::function<void()>>(std::move(function));
        const int flags = daemon == Daemon::yes ? PyThreadHandle_DAEMON : 0;
        if (PyThreadHandle_Start(handle_, interp, run, body.get(), flags) !=
            0) {
            PyThreadHandle_Decref(handle_);
            throw Error::taken("no thread could be started");
        }
        body.release(); /* the thread frees it */
    }
    /** In the interpreter of the calling thread, which is attached. */
    template <class Function>
    explicit Thread(Function function)
        : Thread(PyInterpreterState_Get(), std::move(function)) {}
    ~Thread() { end(); }
    Thread(Thread &&other) noexcept
        : handle_(std::exchange(other.handle_, nullptr)) {}
    Thread &operator=(Thread &&other) noexcept {
        if (this != &other) {
            end();
            handle_ = std::exchange(other.handle_, nullptr);
        }
        return *this;
    }
    Thread(const Thread &) = delete;
    Thread &operator=(const Thread &) = delete;

    /** Waits until the OS thread has exited; detached, if the caller is
     * attached. Throws Error where PyThreadHandle_Join() returns -1. */
    void join() {
        if (PyThreadHandle_Join(handle_, -1) != 0)
            throw Error::taken("the thread cannot be joined");
    }
    /** The same, but not longer than `time`: false if the thread is still there
     * then. */
    template <class Rep, class Period>
    bool join_for(std::chrono::duration<Rep, Period> time) {
        const int late =
            PyThreadHandle_Join(handle_, detail::nanoseconds(time));
        if (late < 0)
            throw Error::taken("the thread cannot be joined");
        return late == 0;
    }
    /** Lets the thread run without this object. The library joins it. */
    void leave() noexcept {
        if (handle_ != nullptr)
            PyThreadHandle_Decref(std::exchange(handle_, nullptr));
    }
    /** The handle, for calls of the C API. Borrowed. */
    PyThreadHandle *get() const noexcept { return handle_; }

  private:
    static void run(void *arg) noexcept {
        const std::unique_ptr<std::function<void()>> body(
            static_cast<std::function<void()> *>(arg));
        (*body)();
    }
    void end() noexcept {
        if (handle_ != nullptr)
            PyThreadHandle_Join(handle_, -1);
        leave();
    }
    PyThreadHandle *handle_;
};

/** While it is open, its interpreter does not commit its finalization. */
class Guard {
  public:
    /** On the attached interpreter; empty where the library refuses. */
    static std::optional<Guard> of_current() noexcept {
        PyInterpreterGuard *const guard = PyInterpreterGuard_FromCurrent();
        if (guard == nullptr) {
            PyErr_Clear();
            return std::nullopt;
        }
        return Guard(guard);
    }
    ~Guard() {
        if (guard_ != nullptr)
            PyInterpreterGuard_Close(guard_);
    }
    Guard(Guard &&other) noexcept
        : guard_(std::exchange(other.guard_, nullptr)) {}
    Guard &operator=(Guard &&other) noexcept {
        std::swap(guard_, other.guard_);
        return *this;
    }
    Guard(const Guard &) = delete;
    Guard &operator=(const Guard &) = delete;

    /** The guard, for calls of the C API. Borrowed. */
    PyInterpreterGuard *get() const noexcept { return guard_; }

  private:
    friend class View;
    explicit Guard(PyInterpreterGuard *guard) noexcept : guard_(guard) {}
    PyInterpreterGuard *guard_;
};

/** A weak name of an interpreter. */
class View {
  public:
    /** Of the attached interpreter. */
    static View of_current() {
        PyInterpreterView *const view = PyInterpreterView_FromCurrent();
        if (view == nullptr)
            throw Error::taken("no memory for a view");
        return View(view);
    }
    /** Of the main interpreter, now or later. Needs no attached state. */
    static View of_main() {
        PyInterpreterView *const view = PyInterpreterView_FromMain();
        if (view == nullptr)
            throw Error("no memory for a view");
        return View(view);
    }
    ~View() {
        if (view_ != nullptr)
            PyInterpreterView_Close(view_);
    }
    View(View &&other) noexcept : view_(std::exchange(other.view_, nullptr)) {}
    View &operator=(View &&other) noexcept {
        std::swap(view_, other.view_);
        return *this;
    }
    View(const View &) = delete;
    View &operator=(const View &) = delete;

    /** A guard on the interpreter; empty if it is gone or no longer accepts
     * guards. */
    std::optional<Guard> guard() const noexcept {
        PyInterpreterGuard *const guard = PyInterpreterGuard_FromView(view_);
        if (guard == nullptr)
            return std::nullopt;
        return Guard(guard);
    }
    /** The view, for calls of the C API. Borrowed. */
    PyInterpreterView *get() const noexcept { return view_; }

  private:
    explicit View(PyInterpreterView *view) noexcept : view_(view) {}
    PyInterpreterView *view_;
};

/** The calling thread, attached to an interpreter; finalization waits for the
 * end of the scope. Scopes of one thread end in the reverse order of their
 * making. */
class Attached {
  public:
    /** Attaches, if the interpreter still accepts the thread. */
    static std::optional<Attached> to(const View &view) noexcept {
        PyThreadStateToken *const token =
            PyThreadState_EnsureFromView(view.get());
        if (token == nullptr)
            return std::nullopt;
        return Attached(token);
    }
    /** Attaches through an open guard, which must outlive the scope. Empty only
     * without memory. */
    static std::optional<Attached> to(const Guard &guard) noexcept {
        PyThreadStateToken *const token = PyThreadState_Ensure(guard.get());
        if (token == nullptr)
            return std::nullopt;
        return Attached(token);
    }
    ~Attached() {
        if (token_ != nullptr)
            PyThreadState_Release(token_);
    }
    Attached(Attached &&other) noexcept
        : token_(std::exchange(other.token_, nullptr)) {}
    Attached(const Attached &) = delete;
    Attached &operator=(const Attached &) = delete;
    Attached &operator=(Attached &&) = delete;

  private:
    explicit Attached(PyThreadStateToken *token) noexcept : token_(token) {}
    PyThreadStateToken *token_;
};

/** While it lives, no other thread of the interpreter (or of any) is attached.
 */
class Pause {
  public:
    /** Throws Error if this thread has a pause already. */
    explicit Pause(PyInterpreterState *interp_or_all = nullptr)
        : interp_(interp_or_all) {
        if (PyTState_StopTheWorld(interp_) != 0)
            throw Error::taken("pauses do not nest");
    }
    ~Pause() { PyTState_StartTheWorld(interp_); }
    Pause(const Pause &) = delete;
    Pause &operator=(const Pause &) = delete;

  private:
    PyInterpreterState *interp_;
};

/** A PyMutex: one byte; a thread that waits for it is detached. Meets
 * BasicLockable, for std::lock_guard and std::unique_lock. */
class Mutex {
  public:
    constexpr Mutex() noexcept : mutex_{} {}
    Mutex(const Mutex &) = delete;
    Mutex &operator=(const Mutex &) = delete;

    void lock() noexcept { PyMutex_Lock(&mutex_); }
    void unlock() noexcept { PyMutex_Unlock(&mutex_); }
    /** Whether it is locked at this moment. */
    bool is_locked() noexcept { return PyMutex_IsLocked(&mutex_) != 0; }

  private:
    PyMutex mutex_;
};

/** A PyEvent: set once, it stays set. */
class Event {
  public:
    constexpr Event() noexcept : event_{} {}
    Event(const Event &) = delete;
    Event &operator=(const Event &) = delete;

    /** Sets it and wakes every thread that waits. */
    void set() noexcept { PyTState_EventSet(&event_); }
    /** Waits until it is set; detached, if the caller is attached. */
    void wait() noexcept { PyEvent_Wait(&event_); }
    /** The same, but not longer than `time`: whether it is set. */
    template <class Rep, class Period>
    bool wait_for(std::chrono::duration<Rep, Period> time) noexcept {
        return PyEvent_WaitTimed(&event_, detail::nanoseconds(time), 1) != 0;
    }

  private:
    PyEvent event_;
};

/** Waits for the threads of an interpreter, not longer than `time`. Returns the
 * threads that are still there. */
template <class Rep, class Period>
std::vector<PyTState_ThreadInfo>
wait_for_threads(PyInterpreterState *interp,
                 std::chrono::duration<Rep, Period> time) {
    std::vector<PyTState_ThreadInfo> alive(16);
    std::size_t n = 0;
    PyTime_t left = detail::nanoseconds(time);
    for (;;) {
        const int late = PyTState_WaitForThreads(interp, left, alive.data(),
                                                 alive.size(), &n);
        if (late < 0)
            throw Error::taken("a signal handler failed");
        if (n <= alive.size())
            break;
        alive.resize(n); /* there are more: look again, without waiting */
        left = 0;
    }
    alive.resize(n);
    return alive;
}

/** Names the state of the calling thread, for reports. Attached. */
inline void name_this_thread(const std::string &name) {
    if (PyTState_SetName(PyThreadState_Get(), name.c_str()) != 0)
        throw Error::taken("the name is refused");
}

} // namespace pytstate

#endif
