/* Says what a change of the root waits for. Thread: any. */
#include "central/fleet/rotation.h"

const char *rotation_word(enum ca_state state) {
    return state == CA_SPREADING  ? "spreading: edges learn the new root"
           : state == CA_RETIRING ? "retiring: edges get certificates below the new root"
                                  : "steady";
}

const char *rotation_lacks(enum ca_state state, const struct edge_facts *f, uint64_t roots, uint64_t signer) {
    if (state == CA_STEADY || f->state == EDGE_REMOVED) return NULL;
    if (state == CA_SPREADING) return f->roots == roots ? NULL : "has not said that it trusts the new root";
    return f->shown == signer ? NULL : "still shows a certificate below the old root";
}

bool rotation_may_go_on(enum ca_state state, const struct edge_facts *list, size_t n, uint64_t roots, uint64_t signer,
                        int64_t until, int64_t now) {
    if (state == CA_STEADY || (state == CA_RETIRING && now < until)) return false;
    for (size_t i = 0; i < n; i++)
        if (rotation_lacks(state, &list[i], roots, signer)) return false;
    return true;
}
