/* source - which counters a record holds; several profiles may be views of one source.
 *
 * The built-in sources come first; profiles that are made at run time (objects.h) get numbers from N_SOURCES on,
 * below SOURCES_MAX. */
#ifndef CPROF_AGENT_SOURCE_H
#define CPROF_AGENT_SOURCE_H

enum record_source {
    SOURCE_HEAP,
    SOURCE_MUTEX,
    SOURCE_BLOCK,
    SOURCE_THREADCREATE,
    SOURCE_CONNECTION,
    SOURCE_BLOB,
    SOURCE_FD,
    N_SOURCES
};

enum { SOURCES_MADE_MAX = 4096, SOURCES_MAX = N_SOURCES + SOURCES_MADE_MAX };

#endif
