/*
 * The one thread-local block of the library.
 *
 * Initial-exec: in a shared object the compiler's default (general-dynamic)
 * costs a call to __tls_get_addr on every access; a block this small fits the
 * surplus that the loader keeps for libraries opened later. Rust has no stable
 * way to choose the model, so the variable lives here and tls.rs reads it.
 */
struct pytstate_tls_block {
    void *words[10];
};

__attribute__((tls_model("initial-exec"), visibility("hidden")))
_Thread_local struct pytstate_tls_block pytstate_tls;

__attribute__((visibility("hidden")))
struct pytstate_tls_block *pytstate_tls_address(void);

struct pytstate_tls_block *pytstate_tls_address(void)
{
    return &pytstate_tls;
}
