/* Makes identities: edges that join central by a token, as `entrepot-edge join` does. Thread: main; several threads join
 * meanwhile. */
#ifndef ENTREPOT_SIM_JOINER_H
#define ENTREPOT_SIM_JOINER_H

#include "edge/link/uplink.h"

/* Lets n edges join by the token, which must be good for as many uses. folder: for what a join keeps on disk meanwhile.
 * out: n uplinks; the caller frees them. */
int joiner_run(const char *token, size_t n, const char *folder, struct uplink **out, struct error *err) must_check;

#endif
