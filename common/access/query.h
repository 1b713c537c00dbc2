/* Parameters in the query of a request's target. Pure. Thread: any. */
#ifndef ENTREPOT_ACCESS_QUERY_H
#define ENTREPOT_ACCESS_QUERY_H

#define QUERY_PARAM_MAX 4096
/* The first parameter of that name, percent-decoded. 1: found, 0: not there, -1: malformed, too long, or holding a NUL
 * (out is not to be read). */
int query_param(const char *target, const char *name, char out[QUERY_PARAM_MAX]);

#endif
