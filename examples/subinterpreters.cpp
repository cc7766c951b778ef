// A C++ host with one isolated interpreter per tenant, each with a GIL of its
// own, and scopes that attach and detach by themselves.
//
// Prints:
//   tenant 1 worked in an interpreter of its own
//   tenant 2 worked in an interpreter of its own
//   2 threads ended, each told its host
//   only the main interpreter is left
#include <pytstate.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace {

// An interpreter of its own; what was attached before is attached again at
// the end.
class Tenant {
  public:
    Tenant() : before_(PyThreadState_Get()), state_(nullptr) {
        const PyInterpreterConfig config = _PyInterpreterConfig_INIT;
        const PyStatus status = Py_NewInterpreterFromConfig(&state_, &config);
        if (PyStatus_Exception(status))
            throw std::runtime_error(status.err_msg);
    }
    ~Tenant() {
        Py_EndInterpreter(state_);
        PyThreadState_Swap(before_);
    }
    Tenant(const Tenant &) = delete;
    Tenant &operator=(const Tenant &) = delete;

    PyInterpreterState *interp() const { return state_->interp; }

  private:
    PyThreadState *before_;
    PyThreadState *state_;
};

// A joinable thread of an interpreter.
class Thread {
  public:
    Thread(PyInterpreterState *interp, void (*body)(void *), void *arg)
        : handle_(PyThreadHandle_New()) {
        if (handle_ == nullptr ||
            PyThreadHandle_Start(handle_, interp, body, arg, 0) != 0)
            throw std::runtime_error(PyTState_ErrMessage());
    }
    ~Thread() {
        // Returns when the OS thread has exited; detaches while it waits.
        PyThreadHandle_Join(handle_, -1);
        PyThreadHandle_Decref(handle_);
    }
    Thread(const Thread &) = delete;
    Thread &operator=(const Thread &) = delete;

  private:
    PyThreadHandle *handle_;
};

std::atomic<int> told(0);

void tell(void *count) { static_cast<std::atomic<int> *>(count)->fetch_add(1); }

// Runs in a thread of the tenant's interpreter, attached.
void work(void *arg) {
    PyThreadState *self = PyThreadState_Get();
    // Called at the end of PyThreadState_Clear(), when this thread ends.
    self->on_delete = tell;
    self->on_delete_data = &told;
    *static_cast<std::int64_t *>(arg) = PyInterpreterState_GetID(self->interp);
}

void serve(int number) {
    const Tenant tenant;
    std::int64_t worked_in = -1;
    { const Thread thread(tenant.interp(), work, &worked_in); }
    if (worked_in == PyInterpreterState_GetID(tenant.interp()))
        std::printf("tenant %d worked in an interpreter of its own\n", number);
}

} // namespace

int main() {
    Py_InitializeEx(0);
    serve(1);
    serve(2);
    std::printf("%d threads ended, each told its host\n", told.load());
    PyInterpreterState *head = PyInterpreterState_Head();
    if (head == PyInterpreterState_Main() &&
        PyInterpreterState_Next(head) == nullptr)
        std::printf("only the main interpreter is left\n");
    return Py_FinalizeEx() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
