/* The next page of a registry's list, by its Link headers (RFC 8288). Pure. Thread: any. */
#ifndef ENTREPOT_UPSTREAM_LINK_H
#define ENTREPOT_UPSTREAM_LINK_H

#include "common/core/error.h"
#include "common/http/client.h"

/* The target of the one with rel="next" in an answer from url, as `<?QUERY>; rel="next"`: all that is taken of it is
 * the query. Several links, in one header or in many, and their parameters may come in any order. *out is freed by the
 * caller; NULL: the list ends here. ERR_UPSTREAM: it goes on where we do not follow (another host, no query). */
int link_next(const struct http_answer *a, const char *url, char **out, struct error *err) must_check;

#endif
