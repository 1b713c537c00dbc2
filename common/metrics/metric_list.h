/* The table of metrics: name, type, labels and help. The enums, the page at /metrics and the documentation are made
 * from it. The file is included several times, each time with the macros that are needed, so it has no header guard.
 * Thread: any (constant).
 *
 * METRIC(id, type, name, help)                 one number without labels
 * METRIC_FAMILY(id, type, name, a, b, help)    one number for each value of label a (and b, unless it is NULL)
 * METRIC_ROWS(id, type, name, a, b, help)      as a family, but of things that come and go, or are many: each page has
 *                                              those alone that are set for it (METRIC_ROWS_MAX)
 * METRIC_HISTOGRAM(id, name, help)             seconds, by endpoint */
#ifndef METRIC
#define METRIC(id, type, name, help)
#endif
#ifndef METRIC_FAMILY
#define METRIC_FAMILY(id, type, name, a, b, help)
#endif
#ifndef METRIC_ROWS
#define METRIC_ROWS(id, type, name, a, b, help)
#endif
#ifndef METRIC_HISTOGRAM
#define METRIC_HISTOGRAM(id, name, help)
#endif

/* Serving. */
METRIC(HITS, COUNTER, "entrepot_hits_total", "Requests for content answered from the store alone.")
METRIC(MISSES, COUNTER, "entrepot_misses_total", "Requests for content that had to be asked for at a source.")
METRIC(STALE_TAGS, COUNTER, "entrepot_stale_tags_served_total",
       "Tags served although they were stale, because their source could not be asked or has deleted them.")
METRIC(NEGATIVE_ANSWERS, COUNTER, "entrepot_negative_answers_total",
       "Requests answered with a remembered \"not found\".")
METRIC(REDIRECTED_BLOBS, COUNTER, "entrepot_redirected_blobs_total",
       "GETs of blobs that were redirected to the client's edge.")
METRIC_FAMILY(CLIENT_BYTES, COUNTER, "entrepot_client_bytes_total", "source", NULL,
              "Bytes of content sent to clients, from the store (disk) or behind a running fill (fill).")
METRIC(CONNECTIONS, GAUGE, "entrepot_connections", "Open connections to the registry port.")
METRIC(CONNECTIONS_ACCEPTED, COUNTER, "entrepot_connections_accepted_total",
       "Connections accepted on the registry port.")
METRIC(CONNECTIONS_REFUSED, COUNTER, "entrepot_connections_refused_total",
       "Connections refused because a limit was reached.")
METRIC(BAD_REQUESTS, COUNTER, "entrepot_bad_requests_total",
       "Requests refused because they broke the HTTP protocol or a limit.")
METRIC_HISTOGRAM(FIRST_BYTE, "entrepot_http_first_byte_seconds",
                 "Time from the head of a request to the first byte of its answer.")
METRIC_HISTOGRAM(DURATION, "entrepot_http_request_seconds", "Time from the head of a request to the end of its answer.")

/* Fills. */
METRIC(FILLS_RUNNING, GAUGE, "entrepot_fills_running", "Downloads under way.")
METRIC(FILLS_STARTED, COUNTER, "entrepot_fills_started_total", "Downloads started.")
METRIC(FILLS_COMPLETED, COUNTER, "entrepot_fills_completed_total", "Downloads whose digest was proved.")
METRIC(FILLS_FAILED, COUNTER, "entrepot_fills_failed_total", "Downloads for which no source was left.")
METRIC(FILLS_PASSED_THROUGH, COUNTER, "entrepot_fills_passed_through_total",
       "Downloads served without being kept because the disk was full.")
METRIC(FILL_READERS_LEFT_BEHIND, COUNTER, "entrepot_fill_readers_left_behind_total",
       "Readers that others of a download that is not kept have waited for, until it went on without them.")
METRIC(COALESCED_READERS, COUNTER, "entrepot_coalesced_readers_total",
       "Requests that joined a download already under way.")
METRIC(DIGEST_MISMATCHES, COUNTER, "entrepot_digest_mismatches_total",
       "Bodies from a source that did not match their digest.")
METRIC(RESUMED_BYTES, COUNTER, "entrepot_resumed_bytes_total",
       "Bytes that were not fetched again because an earlier part of them was kept.")
METRIC_FAMILY(FETCHED_BYTES, COUNTER, "entrepot_fetched_bytes_total", "source", NULL,
              "Bytes of content received, by the source they came from.")

/* Store. */
METRIC(HELD_BLOBS, GAUGE, "entrepot_held_blobs", "Blobs held.")
METRIC(HELD_BYTES, GAUGE, "entrepot_held_bytes", "Bytes of blobs held, as their content is long.")
METRIC(
    STORE_ON_DISK, GAUGE, "entrepot_store_disk_bytes",
    "Bytes of the disk that the store takes: blobs, unfinished downloads, quarantine and index, in whole blocks; what "
    "store.limit bounds.")
METRIC(HOSTED_BLOBS, GAUGE, "entrepot_hosted_blobs", "Blobs that are hosted here (central).")
METRIC(HOSTED_MISSING, GAUGE, "entrepot_hosted_missing_blobs",
       "Of the hosted blobs, those whose bytes are missing and must be restored (central).")
METRIC(TAGS, GAUGE, "entrepot_tags", "Tags remembered; store.tags bounds those whose manifest is not held.")
METRIC(PART_BYTES, GAUGE, "entrepot_part_bytes", "Bytes of unfinished downloads on disk.")
METRIC(STORE_LIMIT, GAUGE, "entrepot_store_limit_bytes",
       "How many bytes of the disk the store may take; 0: nothing can be kept.")
METRIC(DISK_FREE, GAUGE, "entrepot_disk_free_bytes", "Free bytes of the file system the store is on.")
METRIC(EVICTIONS, COUNTER, "entrepot_evictions_total", "Blobs evicted to make room.")
METRIC(EVICTED_BYTES, COUNTER, "entrepot_evicted_bytes_total", "Bytes of blobs evicted to make room.")

/* Memory. */
METRIC_FAMILY(BUDGET_USED, GAUGE, "entrepot_memory_used_bytes", "budget", NULL,
              "Bytes taken from each budget of the configuration's group memory, by its key.")
METRIC_FAMILY(BUDGET_PEAK, GAUGE, "entrepot_memory_peak_bytes", "budget", NULL, "The most that was ever taken of it.")
METRIC_FAMILY(BUDGET_LIMIT, GAUGE, "entrepot_memory_limit_bytes", "budget", NULL, "How much may be taken of it.")
METRIC_FAMILY(BUDGET_REFUSED, COUNTER, "entrepot_memory_refused_total", "budget", NULL,
              "Times that something did not fit into a budget: it was not kept, waited, or was refused.")

/* Places that callers share; label door: an upstream's name, "central", "lists", ... */
METRIC_FAMILY(PLACES, GAUGE, "entrepot_places", "door", NULL, "Requests that may be under way at a door at a time.")
METRIC_FAMILY(PLACES_TAKEN, GAUGE, "entrepot_places_taken", "door", NULL, "Requests under way at a door.")
METRIC_FAMILY(PLACES_WAITING, GAUGE, "entrepot_places_waiting", "door", NULL,
              "Requests that wait for a place at a door.")
METRIC_FAMILY(PLACES_CALLERS, GAUGE, "entrepot_places_callers", "door", NULL,
              "Callers that have a place at a door, or wait for one.")
METRIC_FAMILY(PLACES_REFUSED, COUNTER, "entrepot_places_refused_total", "door", NULL,
              "Requests refused because too many of the same caller were waiting at a door.")
METRIC_FAMILY(PLACES_GAVE_WAY, COUNTER, "entrepot_places_gave_way_total", "door", NULL,
              "Bodies that gave their place to one that came new, and went on later.")

/* Upstreams, central, the node itself. */
METRIC_FAMILY(UPSTREAM_REQUESTS, COUNTER, "entrepot_upstream_requests_total", "upstream", "result",
              "Requests to an upstream, by how they ended.")
METRIC_FAMILY(TOKEN_FETCHES, COUNTER, "entrepot_token_fetches_total", "upstream", NULL,
              "Requests for a token to an upstream's token service.")
METRIC_FAMILY(RATE_LIMIT, GAUGE, "entrepot_upstream_rate_limit", "upstream", NULL,
              "Pulls an upstream allows in its window, as it last said.")
METRIC_FAMILY(RATE_REMAINING, GAUGE, "entrepot_upstream_rate_limit_remaining", "upstream", NULL,
              "Pulls an upstream still allows in its window, as it last said.")
METRIC_FAMILY(PULLS_KEPT, COUNTER, "entrepot_upstream_pulls_kept_total", "upstream", NULL,
              "Pulls refused because little was left of an upstream's limit and the caller had used its share of it.")
METRIC_FAMILY(UPSTREAM_WAIT, GAUGE, "entrepot_upstream_wait_seconds", "upstream", NULL,
              "Seconds until an upstream is asked for a pull again, as a 429 or its limit says; 0: now.")
METRIC_FAMILY(BREAKER_OPEN, GAUGE, "entrepot_source_breaker_open", "source", NULL,
              "1 while a source is not asked because it failed, 0.5 while it is probed, else 0.")
METRIC(CENTRAL_REACHABLE, GAUGE, "entrepot_central_reachable", "1 if central answered last, else 0.")
METRIC(FALLBACK_ACTIVE, GAUGE, "entrepot_fallback_active",
       "1 while an edge asks upstreams itself, because central cannot be reached (fallback: upstream).")
METRIC(FALLBACK_REQUESTS, COUNTER, "entrepot_fallback_requests_total",
       "Requests that an edge sent to upstreams itself.")
METRIC(CATALOGUE_SEQUENCE, GAUGE, "entrepot_catalogue_sequence", "Last sequence number of the catalogue known here.")
METRIC(CATALOGUE_BYTES, GAUGE, "entrepot_catalogue_bytes",
       "Bytes of catalog.db, without its write-ahead log (central).")
METRIC(CATALOGUE_LIMIT, GAUGE, "entrepot_catalogue_limit_bytes", "Bytes that catalog.db may take (central).")
METRIC(CATALOGUE_PRUNED, COUNTER, "entrepot_catalogue_pruned_total",
       "Blobs and tags that are not held, removed from catalog.db to make room (central).")
/* The DNS of central. */
METRIC_FAMILY(DNS_MESSAGES, COUNTER, "entrepot_dns_messages_total", "kind", NULL,
              "Messages to the DNS: by transport (udp, tcp), by what became of them, and of queries answered by site "
              "those with a client subnet (subnets).")
METRIC_FAMILY(DNS_SITE_QUERIES, COUNTER, "entrepot_dns_site_queries_total", "site", NULL,
              "Queries answered for clients of a site.")
METRIC_FAMILY(DNS_SPILLED, COUNTER, "entrepot_dns_spilled_total", "site", NULL,
              "Of these, those answered with another site's edges or with central.")
METRIC_FAMILY(DNS_EDGES, GAUGE, "entrepot_dns_edges", "site", NULL, "Edges of a site that the DNS knows.")
METRIC_FAMILY(DNS_NAMED, GAUGE, "entrepot_dns_edges_named", "site", NULL,
              "Edges of a site that may be named in answers.")
METRIC(DNS_CONNECTIONS, GAUGE, "entrepot_dns_connections", "Open TCP connections to the DNS.")
METRIC(DNS_KEPT, GAUGE, "entrepot_dns_answers_kept",
       "1 while the DNS keeps its last answers because most sites fell silent at once, else 0.")

METRIC(REVALIDATED, COUNTER, "entrepot_revalidated_total",
       "Tags that were checked at their upstream without a request, before edges had to ask (central).")
METRIC(REVALIDATED_MOVED, COUNTER, "entrepot_revalidated_moved_total",
       "Of these checks, those that found a tag moved to a manifest that nobody has pulled yet (central).")
METRIC(REVALIDATED_TAGS, GAUGE, "entrepot_revalidated_tags", "Tags that are checked so now (central).")
METRIC(WATCHES, GAUGE, "entrepot_watches", "Edges that follow the changes of the catalogue now (central).")
METRIC(WATCHES_CUT, COUNTER, "entrepot_watches_cut_total",
       "Edges cut off because they did not read the changes (central).")
METRIC(REPLICA_LIVE, GAUGE, "entrepot_replica_live",
       "1 while changes arrive and the replica of the catalogue is equal to central's, else 0 (edge).")
METRIC(REPLICA_NUMBER, GAUGE, "entrepot_replica_number", "Number of the last change in the replica (edge).")
METRIC(REPLICA_LAG, GAUGE, "entrepot_replica_lag_seconds",
       "Seconds since central was last heard on the stream of changes (edge).")
METRIC(REPLICA_RECORDS, GAUGE, "entrepot_replica_records", "Blobs, manifests and tags in the replica (edge).")
METRIC(REPLICA_BYTES, GAUGE, "entrepot_replica_bytes", "Memory that the replica takes; replica.limit bounds it (edge).")
METRIC(REPLICA_ANSWERS, COUNTER, "entrepot_replica_answers_total",
       "Tags and digests answered from the replica, without asking central (edge).")
METRIC_FAMILY(FLEET_EDGES, GAUGE, "entrepot_fleet_edges", "state", NULL, "Edges of the fleet by their state (central).")
METRIC_ROWS(EDGE_HEARD, GAUGE, "entrepot_edge_heard_seconds", "edge", "site",
            "Seconds since an edge reported last (central).")
METRIC_ROWS(EDGE_LOAD, GAUGE, "entrepot_edge_load_percent", "edge", "site",
            "Load of an edge, as it said last (central).")
METRIC_ROWS(EDGE_DISK_HELD, GAUGE, "entrepot_edge_disk_held_bytes", "edge", "site",
            "Bytes of the disk that an edge's store takes, as it said last (central).")
METRIC_ROWS(EDGE_DISK_LIMIT, GAUGE, "entrepot_edge_disk_limit_bytes", "edge", "site",
            "Bytes that an edge's store may take, as it said last (central).")
METRIC_ROWS(EDGE_REPLICA_LAG, GAUGE, "entrepot_edge_replica_lag_seconds", "edge", "site",
            "Seconds since an edge has heard changes of the catalogue, as it said last (central).")
METRIC(EDGES_HEARD, GAUGE, "entrepot_edges_heard", "Edges whose last report is not older than three periods (central).")
METRIC(REPORTS_REFUSED, COUNTER, "entrepot_reports_refused_total",
       "Reports refused because an edge sent too many or an unreadable one (central).")
METRIC(REPORTS_SENT, COUNTER, "entrepot_reports_sent_total", "Reports that central has taken from this edge (edge).")
METRIC(REPORTS_FAILED, COUNTER, "entrepot_reports_failed_total", "Reports that did not reach central (edge).")
METRIC(PULLS, COUNTER, "entrepot_pulls_by_tag_total",
       "Requests for a tag that were answered: at an edge since its start, at central all that edges have reported.")
METRIC(PULLS_QUEUED, GAUGE, "entrepot_pulls_queued",
       "Pulls on this edge's disk that central has not counted yet (edge).")
METRIC(HOLDINGS_WAITING, GAUGE, "entrepot_holdings_waiting",
       "Blobs gained and lost that central has not taken from this edge's reports yet (edge).")
METRIC(HOLDINGS_REPAIRS, COUNTER, "entrepot_holdings_repaired_tiles_total",
       "Parts of what this edge holds (1,024) that were told whole, because central knew otherwise (edge).")
METRIC(HOLDINGS_BLOBS, GAUGE, "entrepot_holdings_blobs", "Different blobs that edges hold (central).")
METRIC(HOLDINGS_BYTES, GAUGE, "entrepot_holdings_bytes", "Memory for what each edge holds (central).")
METRIC_ROWS(EDGE_HOLDINGS, GAUGE, "entrepot_edge_holdings_blobs", "edge", "site",
            "Blobs that an edge holds, as far as central was told (central).")
METRIC(CA_STATE, GAUGE, "entrepot_ca_state",
       "Change of the fleet's root: 0 none, 1 the new one spreads, 2 the old one retires (central).")
METRIC(CA_MISSING, GAUGE, "entrepot_ca_missing_edges", "Edges that a change of the root waits for (central).")
METRIC(IDENTITY_GENERATION, GAUGE, "entrepot_identity_generation", "Generation of this edge's certificate (edge).")
METRIC(IDENTITY_ROOTS, GAUGE, "entrepot_identity_roots", "Roots of the fleet that this edge trusts (edge).")
METRIC(CLOCK_AHEAD, GAUGE, "entrepot_clock_ahead_seconds", "This edge's clock less central's, as last heard (edge).")
METRIC_FAMILY(CERTIFICATE_END, GAUGE, "entrepot_certificate_not_after_seconds", "port", NULL,
              "When the certificate of a port ends, as Unix time.")
METRIC_FAMILY(
    LONGEST_STALL, GAUGE, "entrepot_loop_longest_stall_seconds", "loop", NULL,
    "Longest pass of an event loop since the last time this was read; other requests may have waited that long.")
METRIC_FAMILY(BUILD_INFO, GAUGE, "entrepot_build_info", "version", "node", "Always 1; the labels say what runs.")
METRIC(READY, GAUGE, "entrepot_ready", "1 if /readyz says ready, else 0.")

/* The process, under the names every Prometheus client uses. */
METRIC(PROCESS_RSS, GAUGE, "process_resident_memory_bytes", "Resident memory.")
METRIC(PROCESS_VIRTUAL, GAUGE, "process_virtual_memory_bytes", "Virtual memory.")
METRIC(PROCESS_CPU, COUNTER, "process_cpu_seconds_total", "CPU time used, user and system.")
METRIC(PROCESS_START, GAUGE, "process_start_time_seconds", "When the process started, seconds since the epoch.")
METRIC(PROCESS_FDS, GAUGE, "process_open_fds", "Open file descriptors.")
METRIC(PROCESS_MAX_FDS, GAUGE, "process_max_fds", "How many file descriptors may be open.")

#undef METRIC
#undef METRIC_FAMILY
#undef METRIC_ROWS
#undef METRIC_HISTOGRAM
