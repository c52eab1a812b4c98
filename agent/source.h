/* source - which counters a record holds; several profiles may be views of one source. */
#ifndef CPROF_AGENT_SOURCE_H
#define CPROF_AGENT_SOURCE_H

enum record_source { SOURCE_HEAP, SOURCE_MUTEX, SOURCE_BLOCK, SOURCE_THREADCREATE, N_SOURCES };

#endif
