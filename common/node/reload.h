/* What a running node reads again: the certificate of its registry port, every few seconds and on SIGHUP. The
 * configuration is read at the start only; on SIGHUP the log says if its file has changed. Thread: control. */
#ifndef ENTREPOT_NODE_RELOAD_H
#define ENTREPOT_NODE_RELOAD_H

#include "common/config/node_config.h"
#include "common/core/loop.h"
#include "common/http/tls.h"

struct reload;
/* Call at the start: remembers the state of the configuration file. */
struct reload *reload_new(const struct node_config *node, struct loop *control);
/* Watches a certificate from now on. tls is borrowed until reload_free; NULL: there is none. */
void reload_watch(struct reload *r, struct tls_server *tls);
/* Call on SIGHUP: logs what was read again, and what was not although it has changed. */
void reload_now(struct reload *r);
void reload_free(struct reload *r);

#endif
