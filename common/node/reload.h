/* What a running node reads again: the certificate of its registry port, every few seconds and on SIGHUP. The
 * configuration is read at a start only; SIGHUP says when it has changed since. Thread: control. */
#ifndef ENTREPOT_NODE_RELOAD_H
#define ENTREPOT_NODE_RELOAD_H

#include "common/config/node_config.h"
#include "common/core/loop.h"
#include "common/http/tls.h"

struct reload;
/* At the start: the configuration's file is remembered as it is now. */
struct reload *reload_new(const struct node_config *node, struct loop *control);
/* From now on the certificate is watched; tls NULL: there is none. Borrowed until reload_free. */
void reload_watch(struct reload *r, struct tls_server *tls);
/* SIGHUP: says what was read again, and what was not though it has changed. */
void reload_now(struct reload *r);
void reload_free(struct reload *r);

#endif
