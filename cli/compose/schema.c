// SPDX-License-Identifier: Apache-2.0
/* The rows. Nothing but data; schema.h says what the columns mean. */
#include <string.h>

#include "proto/value.h"
#include "schema.h"

#define K(x) (1U << (x))
#define ANY_SCALAR (K(CF_NULL) | K(CF_BOOL) | K(CF_INT) | K(CF_FLOAT) | K(CF_STR))
#define NUMBER (K(CF_INT) | K(CF_FLOAT))
#define KEYS(array) .keys = (array), .n = array_len(array)
#define WORDS(...)                                                                                 \
    (const char *const[]) {                                                                        \
        __VA_ARGS__, NULL                                                                          \
    }
#define DOES .use = CF_DOES
#define PARTLY(text) .use = CF_PARTLY, .why = (text)
#define ONLY(text, ...) PARTLY(text), .done = WORDS(__VA_ARGS__)
#define WARNS(text) .use = CF_WARNS, .why = (text)
#define REFUSES(text) .use = CF_REFUSES, .why = (text)

/* Reasons that several rows share. */
#define LATER_SCHED "the scheduler of this version cannot do it yet"
#define LATER_NET "the network of this version cannot do it yet"
#define LATER_RUN "the runtime of this version cannot do it yet"
#define NO_BUILD "Orlop builds no images: build it elsewhere and `orlop image import` it"
#define WINDOWS "it is for Windows containers"
#define FAILED_UPDATE "an update whose new task does not come up stops there"
#define CGROUP_V1 "only cgroup v1 knows it"

#define TEXT .type = &t_text
#define FLAG .type = &t_flag
#define BOOL .type = &t_bool
#define INT .type = &t_int
#define NUM .type = &t_number
#define SIZE .type = &t_size
#define DURATION .type = &t_duration
#define LIST .type = &t_list, .item = &i_text
#define TEXTS .type = &t_texts, .item = &i_text
#define NUMBERED .type = &t_list, .item = &i_text_or_number
#define KEYVALUE .type = &t_keyvalue, .item = &i_text, .value = &i_scalar
#define OPTIONS .type = &t_options, .value = &i_text_or_number
#define OBJECT(t) .type = &t_object, .table = &(t)
#define OBJECTS(i) .type = &t_objects, .item = &(i)

static const struct cf_type t_text = {K(CF_STR), .canon = cf_canon_text};
static const struct cf_type t_text_null = {K(CF_STR) | K(CF_NULL), .canon = cf_canon_text};
static const struct cf_type t_text_number = {K(CF_STR) | NUMBER, .canon = cf_canon_text};
static const struct cf_type t_text_int = {K(CF_STR) | K(CF_INT), .canon = cf_canon_text};
static const struct cf_type t_text_bool = {K(CF_STR) | K(CF_BOOL), .canon = cf_canon_text};
static const struct cf_type t_scalar = {ANY_SCALAR, .canon = cf_canon_text};
static const struct cf_type t_flag = {K(CF_BOOL) | K(CF_STR), .canon = cf_canon_bool};
static const struct cf_type t_bool = {K(CF_BOOL), .canon = cf_canon_bool};
static const struct cf_type t_int = {K(CF_INT) | K(CF_STR), .canon = cf_canon_int};
static const struct cf_type t_int_number = {NUMBER | K(CF_STR), .canon = cf_canon_int};
static const struct cf_type t_int_only = {K(CF_INT), .canon = cf_canon_int};
static const struct cf_type t_number = {NUMBER | K(CF_STR), .canon = cf_canon_number};
static const struct cf_type t_size = {NUMBER | K(CF_STR), .canon = cf_canon_size};
static const struct cf_type t_size_int = {K(CF_INT) | K(CF_STR), .canon = cf_canon_size};
static const struct cf_type t_size_text = {K(CF_STR), .canon = cf_canon_size};
static const struct cf_type t_duration = {K(CF_STR), .canon = cf_canon_duration, .keep = true};
static const struct cf_type t_mode = {NUMBER | K(CF_STR), .canon = cf_canon_mode, .keep = true};
static const struct cf_type t_list = {K(CF_SEQ), .canon = cf_canon_texts};
static const struct cf_type t_texts = {K(CF_STR) | K(CF_SEQ), CF_MERGE_TEXTS, cf_canon_texts,
                                       false};
static const struct cf_type t_keyvalue = {K(CF_MAP) | K(CF_SEQ), CF_MERGE_KEYVALUE, cf_canon_map,
                                          false};
static const struct cf_type t_env = {K(CF_MAP) | K(CF_SEQ), CF_MERGE_KEYVALUE, cf_canon_env, false};
static const struct cf_type t_args = {K(CF_MAP) | K(CF_SEQ), CF_MERGE_KEYVALUE, cf_canon_args,
                                      false};
static const struct cf_type t_contexts = {K(CF_MAP) | K(CF_SEQ), CF_MERGE_KEYVALUE,
                                          cf_canon_contexts, false};
static const struct cf_type t_options = {K(CF_MAP), .canon = cf_canon_map};
static const struct cf_type t_object = {K(CF_MAP), .canon = cf_canon_object};
static const struct cf_type t_object_null = {K(CF_MAP) | K(CF_NULL), .canon = cf_canon_object};
static const struct cf_type t_objects = {K(CF_SEQ), .canon = cf_canon_objects};
static const struct cf_type t_named = {K(CF_MAP), .canon = cf_canon_named};
static const struct cf_type t_command = {K(CF_NULL) | K(CF_STR) | K(CF_SEQ), CF_MERGE_REPLACE,
                                         cf_canon_command, true};
static const struct cf_type t_test = {K(CF_STR) | K(CF_SEQ), CF_MERGE_REPLACE, cf_canon_test,
                                      false};
static const struct cf_type t_build = {K(CF_STR) | K(CF_MAP), CF_MERGE_BUILD, cf_canon_build, true};
static const struct cf_type t_ports = {K(CF_SEQ), .canon = cf_canon_ports};
static const struct cf_type t_port = {NUMBER | K(CF_STR) | K(CF_MAP), .canon = cf_canon_object};
static const struct cf_type t_volumes = {K(CF_SEQ), .canon = cf_canon_volumes};
static const struct cf_type t_text_object = {K(CF_STR) | K(CF_MAP), .canon = cf_canon_object};
static const struct cf_type t_uses = {K(CF_SEQ), .canon = cf_canon_uses};
static const struct cf_type t_depends = {K(CF_SEQ) | K(CF_MAP), CF_MERGE_NAMES, cf_canon_depends,
                                         false};
static const struct cf_type t_networks = {K(CF_SEQ) | K(CF_MAP), CF_MERGE_NAMES, cf_canon_networks,
                                          false};
static const struct cf_type t_env_files = {K(CF_STR) | K(CF_SEQ), CF_MERGE_TEXTS,
                                           cf_canon_env_files, false};
static const struct cf_type t_hosts = {K(CF_SEQ) | K(CF_MAP), CF_MERGE_HOSTS, cf_canon_hosts,
                                       false};
static const struct cf_type t_host = {K(CF_STR) | K(CF_SEQ), .canon = cf_canon_text};
static const struct cf_type t_ulimits = {K(CF_MAP), .canon = cf_canon_ulimits};
static const struct cf_type t_ulimit = {K(CF_INT) | K(CF_STR) | K(CF_MAP), CF_MERGE_REPLACE,
                                        cf_canon_object, false};
static const struct cf_type t_devices = {K(CF_SEQ), .canon = cf_canon_devices};
static const struct cf_type t_gpus = {K(CF_STR) | K(CF_SEQ), .canon = cf_canon_gpus};
static const struct cf_type t_count = {K(CF_STR) | K(CF_INT), .canon = cf_canon_count};
static const struct cf_type t_provider_options = {K(CF_MAP), .canon = cf_canon_options};
static const struct cf_type t_provider_option = {K(CF_STR) | NUMBER | K(CF_BOOL) | K(CF_SEQ),
                                                 .canon = cf_canon_texts};
static const struct cf_type t_logging = {K(CF_MAP), CF_MERGE_LOGGING, cf_canon_object, false};
static const struct cf_type t_subnets = {K(CF_SEQ), CF_MERGE_SUBNETS, cf_canon_objects, false};
static const struct cf_type t_external = {K(CF_BOOL) | K(CF_STR) | K(CF_MAP),
                                          .canon = cf_canon_external};
static const struct cf_type t_flags_list = {K(CF_SEQ), CF_MERGE_REPLACE, cf_canon_texts, false};
static const struct cf_type t_extends = {K(CF_STR) | K(CF_MAP), .canon = cf_canon_none};
/* The canonical form has no such key; what it belongs to is refused as a whole. */
static const struct cf_type t_dropped = {K(CF_BOOL) | K(CF_STR), .canon = cf_canon_none};
static const struct cf_type t_include = {K(CF_SEQ), .canon = cf_canon_none};

static const struct cf_key i_text = {"", TEXT};
static const struct cf_key i_scalar = {"", .type = &t_scalar};
static const struct cf_key i_text_or_number = {"", .type = &t_text_number};
static const struct cf_key i_option = {
    "", .type = &(const struct cf_type){K(CF_STR) | NUMBER | K(CF_NULL), .canon = cf_canon_text}};

/* ---- ports, volumes, secrets and configs of a service ---- */

static const struct cf_key port_keys[] = {
    {"name", TEXT, WARNS("names of ports are for people; nothing reads them")},
    {"mode", TEXT, PARTLY("host means the same for one replica, and is refused for more")},
    {"host_ip", TEXT, DOES},
    {"target", .type = &t_int, .max = 65535, .min = 1, DOES},
    {"published", .type = &t_text_int, DOES},
    {"protocol", TEXT, ONLY("other protocols are not forwarded", "tcp", "udp")},
    {"app_protocol", TEXT, WARNS("a hint for proxies; nothing reads it")},
};
static const struct cf_table port_table = {KEYS(port_keys), .finish = cf_finish_port};
static const struct cf_key i_port = {"", .type = &t_port, .table = &port_table};

static const struct cf_key bind_keys[] = {
    {"propagation", TEXT, ONLY("mounts of the host stay the host's", "private", "rprivate")},
    {"create_host_path", FLAG, .flags = CF_KEEP, DOES},
    {"recursive", TEXT, .words = WORDS("enabled", "disabled", "writable", "readonly"),
     REFUSES(LATER_RUN)},
    {"selinux", TEXT, .words = WORDS("z", "Z"), WARNS("files are not relabelled")},
};
static const struct cf_table bind_table = {KEYS(bind_keys)};
static const struct cf_key mount_volume_keys[] = {
    {"labels", KEYVALUE, REFUSES("labels of anonymous volumes are not kept")},
    {"nocopy", FLAG, DOES},
    {"subpath", TEXT, REFUSES(LATER_RUN)},
};
static const struct cf_table mount_volume_table = {KEYS(mount_volume_keys)};
static const struct cf_key tmpfs_keys[] = {
    {"size", .type = &t_size_int, DOES},
    {"mode", .type = &t_mode, DOES},
};
static const struct cf_table tmpfs_table = {KEYS(tmpfs_keys)};
static const struct cf_key mount_image_keys[] = {{"subpath", TEXT, REFUSES(LATER_RUN)}};
static const struct cf_table mount_image_table = {KEYS(mount_image_keys)};
static const struct cf_key volume_keys[] = {
    {"type", TEXT, .flags = CF_NEED, PARTLY("volume, bind and tmpfs are done"),
     .words = WORDS("bind", "volume", "tmpfs", "cluster", "npipe", "image")},
    {"source", TEXT, DOES},
    {"target", TEXT, DOES},
    {"read_only", FLAG, DOES},
    {"consistency", TEXT, WARNS("it is a hint for other systems")},
    {"bind", OBJECT(bind_table), DOES},
    {"volume", OBJECT(mount_volume_table), DOES},
    {"tmpfs", OBJECT(tmpfs_table), DOES},
    {"image", OBJECT(mount_image_table), REFUSES(LATER_RUN)},
};
static const struct cf_table volume_table = {KEYS(volume_keys)};
static const struct cf_key i_volume = {"", .type = &t_text_object, .table = &volume_table};

static const struct cf_key use_keys[] = {
    {"source", TEXT, DOES}, {"target", TEXT, DOES},          {"uid", TEXT, DOES},
    {"gid", TEXT, DOES},    {"mode", .type = &t_mode, DOES},
};
static const struct cf_table use_table = {KEYS(use_keys)};
static const struct cf_key i_use = {"", .type = &t_text_object, .table = &use_table};

/* ---- build ---- */

static const struct cf_key ulimit_keys[] = {
    {"soft", INT, .flags = CF_NEED | CF_KEEP, DOES},
    {"hard", INT, .flags = CF_NEED | CF_KEEP, DOES},
};
static const struct cf_table ulimit_table = {KEYS(ulimit_keys)};
static const struct cf_key i_ulimit = {"", .type = &t_ulimit, .table = &ulimit_table};
static const struct cf_key i_host = {"", .type = &t_host, .item = &i_text};

static const struct cf_key build_keys[] = {
    {"context", TEXT, .flags = CF_CONTEXT},
    {"dockerfile", TEXT},
    {"dockerfile_inline", TEXT},
    {"entitlements", LIST},
    {"args", .type = &t_args, .item = &i_text, .value = &i_scalar},
    {"ssh", KEYVALUE},
    {"labels", KEYVALUE},
    {"cache_from", LIST},
    {"cache_to", LIST},
    {"no_cache", FLAG},
    {"no_cache_filter", TEXTS},
    {"additional_contexts", .type = &t_contexts, .item = &i_text, .value = &i_scalar},
    {"network", TEXT},
    {"provenance", .type = &t_text_bool},
    {"sbom", .type = &t_text_bool},
    {"pull", FLAG},
    {"target", TEXT},
    {"shm_size", .type = &t_size_int},
    {"extra_hosts", .type = &t_hosts, .item = &i_text, .value = &i_host},
    {"isolation", TEXT},
    {"privileged", FLAG},
    {"secrets", .type = &t_uses, .item = &i_use, .identity = cf_id_secret,
     .fallback = "/run/secrets/"},
    {"tags", LIST, .identity = cf_id_text},
    {"ulimits", .type = &t_ulimits, .value = &i_ulimit},
    {"platforms", LIST},
};
static const struct cf_table build_table = {KEYS(build_keys), .finish = cf_finish_build};

/* ---- deploy ---- */

static const struct cf_key update_keys[] = {
    {"parallelism", INT, .flags = CF_KEEP, .max = INT32_MAX, DOES},
    {"delay", DURATION, DOES, .why = "from the start of what was replaced last"},
    {"failure_action", TEXT, WARNS(FAILED_UPDATE), .done = WORDS("pause")},
    {"monitor", DURATION, WARNS(FAILED_UPDATE)},
    {"max_failure_ratio", NUM, WARNS(FAILED_UPDATE)},
    {"order", TEXT, .words = WORDS("start-first", "stop-first"),
     ONLY("the new task has the name and the volumes of the old one", "stop-first")},
};
static const struct cf_table update_table = {KEYS(update_keys)};

static const struct cf_key gpu_keys[] = {
    {"capabilities", LIST, .flags = CF_UNIQUE | CF_NEED},
    {"count", .type = &t_count},
    {"device_ids", LIST, .flags = CF_UNIQUE},
    {"driver", TEXT},
    {"options", KEYVALUE},
};
static const struct cf_table gpu_table = {KEYS(gpu_keys), .finish = cf_finish_gpu};
static const struct cf_key i_gpu_device = {"", OBJECT(gpu_table)};
static const struct cf_key gpus_keys[] = {
    {"capabilities", LIST, .flags = CF_UNIQUE},
    {"count", .type = &t_count},
    {"device_ids", LIST, .flags = CF_UNIQUE},
    {"driver", TEXT},
    {"options", KEYVALUE},
};
static const struct cf_table gpus_table = {KEYS(gpus_keys), .finish = cf_finish_gpu};
static const struct cf_key i_gpu = {"", OBJECT(gpus_table)};

static const struct cf_key discrete_keys[] = {{"kind", TEXT}, {"value", .type = &t_int_number}};
static const struct cf_table discrete_table = {KEYS(discrete_keys)};
static const struct cf_key generic_keys[] = {{"discrete_resource_spec", OBJECT(discrete_table)}};
static const struct cf_table generic_table = {KEYS(generic_keys)};
static const struct cf_key i_generic = {"", OBJECT(generic_table)};

static const struct cf_key limit_keys[] = {
    {"cpus", NUM, DOES},
    {"memory", .type = &t_size_text, DOES},
    {"pids", INT, DOES},
};
static const struct cf_table limit_table = {KEYS(limit_keys)};
static const struct cf_key reservation_keys[] = {
    {"cpus", NUM, DOES},
    {"memory", .type = &t_size_text, DOES},
    {"generic_resources", OBJECTS(i_generic), REFUSES(LATER_SCHED)},
    {"devices", OBJECTS(i_gpu_device), REFUSES(LATER_SCHED)},
};
static const struct cf_table reservation_table = {KEYS(reservation_keys)};
static const struct cf_key resources_keys[] = {
    {"limits", OBJECT(limit_table), DOES},
    {"reservations", OBJECT(reservation_table), DOES},
};
static const struct cf_table resources_table = {KEYS(resources_keys)};

static const struct cf_key restart_keys[] = {
    {"condition", TEXT, ONLY("it is none of the specification's", "none", "on-failure", "any")},
    {"delay", DURATION, DOES},
    {"max_attempts", INT, .flags = CF_KEEP, .max = INT32_MAX, DOES},
    {"window", DURATION, DOES},
};
static const struct cf_table restart_table = {KEYS(restart_keys)};

static const struct cf_key preference_keys[] = {
    {"spread", TEXT, DOES, .why = "nodes have no labels yet: replicas spread over all of them"}};
static const struct cf_table preference_table = {KEYS(preference_keys)};
static const struct cf_key i_preference = {"", OBJECT(preference_table)};
static const struct cf_key placement_keys[] = {
    {"constraints", LIST, DOES, .why = "of node.labels only `!=` holds: nodes have none yet"},
    {"preferences", OBJECTS(i_preference), DOES},
    {"max_replicas_per_node", INT, .max = INT32_MAX, DOES},
};
static const struct cf_table placement_table = {KEYS(placement_keys)};

static const struct cf_key deploy_keys[] = {
    {"mode", TEXT,
     ONLY("there are no other modes", "replicated", "global", "replicated-job", "global-job")},
    {"endpoint_mode", TEXT, ONLY("each service has a virtual address", "vip")},
    {"replicas", INT, .flags = CF_KEEP, .max = INT32_MAX, DOES},
    {"labels", KEYVALUE, DOES, .why = "`orlop ps --format json` shows them"},
    {"update_config", OBJECT(update_table), DOES},
    {"rollback_config", OBJECT(update_table), WARNS("nothing is rolled back by itself")},
    {"resources", OBJECT(resources_table), DOES},
    {"restart_policy", OBJECT(restart_table), DOES},
    {"placement", OBJECT(placement_table), DOES},
};
static const struct cf_table deploy_table = {KEYS(deploy_keys)};

/* ---- the smaller mappings of a service ---- */

static const struct cf_key rate_keys[] = {
    {"path", TEXT},
    {"rate", .type = &t_size_int},
};
static const struct cf_table rate_table = {KEYS(rate_keys), .closed = true};
static const struct cf_key i_rate = {"", OBJECT(rate_table)};
static const struct cf_key weight_keys[] = {{"path", TEXT}, {"weight", INT}};
static const struct cf_table weight_table = {KEYS(weight_keys), .closed = true};
static const struct cf_key i_weight = {"", OBJECT(weight_table)};
static const struct cf_key blkio_keys[] = {
    {"device_read_bps", OBJECTS(i_rate)},
    {"device_read_iops", OBJECTS(i_rate)},
    {"device_write_bps", OBJECTS(i_rate)},
    {"device_write_iops", OBJECTS(i_rate)},
    {"weight", INT},
    {"weight_device", OBJECTS(i_weight)},
};
static const struct cf_table blkio_table = {KEYS(blkio_keys), .closed = true};

static const struct cf_key credential_keys[] = {
    {"config", TEXT}, {"file", TEXT}, {"registry", TEXT}};
static const struct cf_table credential_table = {KEYS(credential_keys)};

static const struct cf_key dependency_keys[] = {
    {"condition", TEXT, .flags = CF_NEED, DOES,
     .words = WORDS("service_started", "service_healthy", "service_completed_successfully")},
    {"required", BOOL, .flags = CF_KEEP, DOES},
    {"restart", FLAG, DOES},
};
static const struct cf_table dependency_table = {KEYS(dependency_keys)};
static const struct cf_key i_dependency = {"", OBJECT(dependency_table)};

static const struct cf_key device_keys[] = {
    {"source", TEXT, .flags = CF_NEED, DOES},
    {"target", TEXT, DOES},
    {"permissions", TEXT, DOES},
};
static const struct cf_table device_table = {KEYS(device_keys)};
static const struct cf_key i_device = {"", .type = &t_text_object, .table = &device_table};

static const struct cf_key env_file_keys[] = {
    {"path", TEXT, .flags = CF_NEED | CF_HOSTPATH, DOES},
    {"format", TEXT, PARTLY("only `raw` is known")},
    {"required", FLAG, .flags = CF_KEEP, DOES},
};
static const struct cf_table env_file_table = {KEYS(env_file_keys), .closed = true};
static const struct cf_key i_env_file = {"", .type = &t_text_object, .table = &env_file_table};

static const struct cf_key extends_keys[] = {{"service", TEXT, .flags = CF_NEED, DOES},
                                             {"file", TEXT, DOES}};
static const struct cf_table extends_table = {KEYS(extends_keys), .closed = true};

static const struct cf_key health_keys[] = {
    {"disable", FLAG, DOES},
    {"interval", DURATION, DOES},
    {"retries", .type = &t_int_number, .flags = CF_KEEP, .max = INT32_MAX, DOES},
    {"test", .type = &t_test, .item = &i_text, DOES},
    {"timeout", DURATION, DOES},
    {"start_period", DURATION, DOES},
    {"start_interval", DURATION, DOES},
};
static const struct cf_table health_table = {KEYS(health_keys)};

static const struct cf_key hook_keys[] = {
    {"command", .type = &t_command, .item = &i_text, .flags = CF_NEED},
    {"user", TEXT},
    {"privileged", FLAG},
    {"working_dir", TEXT},
    {"environment", .type = &t_env, .item = &i_text, .value = &i_scalar},
};
static const struct cf_table hook_table = {KEYS(hook_keys)};
static const struct cf_key i_hook = {"", OBJECT(hook_table)};
static const struct cf_key pre_start_keys[] = {
    {"command", .type = &t_command, .item = &i_text},
    {"image", TEXT},
    {"user", TEXT},
    {"privileged", FLAG},
    {"working_dir", TEXT},
    {"environment", .type = &t_env, .item = &i_text, .value = &i_scalar},
    {"per_replica", .type = &t_dropped},
};
static const struct cf_table pre_start_table = {KEYS(pre_start_keys)};
static const struct cf_key i_pre_start = {"", OBJECT(pre_start_table)};

static const struct cf_key watch_keys[] = {
    {"ignore", TEXTS},
    {"include", TEXTS},
    {"path", TEXT, .flags = CF_NEED | CF_HOSTPATH},
    {"action", TEXT, .flags = CF_NEED,
     .words = WORDS("rebuild", "sync", "restart", "sync+restart", "sync+exec")},
    {"target", TEXT},
    {"exec", OBJECT(hook_table)},
    {"initial_sync", BOOL},
};
static const struct cf_table watch_table = {KEYS(watch_keys)};
static const struct cf_key i_watch = {"", OBJECT(watch_table)};
static const struct cf_key develop_keys[] = {{"watch", OBJECTS(i_watch)}};
static const struct cf_table develop_table = {KEYS(develop_keys)};

static const struct cf_key logging_keys[] = {
    {"driver", TEXT,
     ONLY("json-file and local mean Orlop's own log", "json-file", "local", "none")},
    {"options", .type = &t_options, .value = &i_option, PARTLY("max-size and max-file are done")},
};
static const struct cf_table logging_table = {KEYS(logging_keys)};

static const struct cf_key model_use_keys[] = {{"endpoint_var", TEXT}, {"model_var", TEXT}};
static const struct cf_table model_use_table = {KEYS(model_use_keys)};
static const struct cf_key i_model_use = {"", .type = &t_object_null, .table = &model_use_table};

static const struct cf_key network_use_keys[] = {
    {"aliases", LIST, .flags = CF_UNIQUE, .identity = cf_id_text, DOES, .fine = value_alias},
    {"interface_name", TEXT, REFUSES(LATER_NET)},
    {"ipv4_address", TEXT, DOES, .fine = value_ipv4},
    {"ipv6_address", TEXT, REFUSES("tasks have IPv4 addresses only")},
    {"link_local_ips", LIST, .flags = CF_UNIQUE, .identity = cf_id_text, REFUSES(LATER_NET)},
    {"mac_address", TEXT, REFUSES(LATER_NET)},
    {"driver_opts", OPTIONS, REFUSES(LATER_NET)},
    {"priority", .type = &t_int_number, REFUSES(LATER_NET)},
    {"gw_priority", .type = &t_int_number, REFUSES(LATER_NET)},
};
static const struct cf_table network_use_table = {KEYS(network_use_keys)};
static const struct cf_key i_network_use = {"", .type = &t_object_null,
                                            .table = &network_use_table};

static const struct cf_key i_provider_option = {"", .type = &t_provider_option, .item = &i_scalar,
                                                DOES};
static const struct cf_key provider_keys[] = {
    {"type", TEXT, .flags = CF_NEED},
    {"options", .type = &t_provider_options, .value = &i_provider_option},
};
static const struct cf_table provider_table = {KEYS(provider_keys)};

/* ---- a service ---- */

static const struct cf_key orlop_keys[] = {{"drain", DURATION, DOES}};
static const struct cf_table orlop_table = {KEYS(orlop_keys), .closed = true};

static const struct cf_key service_keys[] = {
    {"annotations", KEYVALUE, REFUSES("use `labels`")},
    {"attach", FLAG, .flags = CF_KEEP, REFUSES("`orlop up` does not show logs")},
    {"blkio_config", OBJECT(blkio_table), REFUSES(LATER_RUN)},
    {"build", .type = &t_build, .table = &build_table, PARTLY(NO_BUILD)},
    {"cap_add", LIST, .flags = CF_UNIQUE, .identity = cf_id_text, DOES, .fine = value_capability},
    {"cap_drop", LIST, .flags = CF_UNIQUE, .identity = cf_id_text, DOES, .fine = value_capability},
    {"cgroup", TEXT, .words = WORDS("host", "private"),
     ONLY("each task has a cgroup namespace of its own", "private")},
    {"cgroup_parent", TEXT, REFUSES("the agent chooses where cgroups are")},
    {"command", .type = &t_command, .item = &i_text, DOES},
    {"configs", .type = &t_uses, .item = &i_use, .identity = cf_id_config, .fallback = "/", DOES},
    {"container_name", TEXT, .pattern = "[a-zA-Z0-9][a-zA-Z0-9_.-]+", DOES, .fine = value_container,
     .why = "of a service with one replica: the name of its task, and an alias in its networks"},
    {"cpu_count", INT, .max = INT32_MAX, REFUSES(WINDOWS)},
    {"cpu_percent", NUM, .max = 100, REFUSES(WINDOWS)},
    {"cpu_period", .type = &t_int_number, DOES, .why = "with `cpu_quota`"},
    {"cpu_quota", .type = &t_int_number, DOES},
    {"cpu_rt_period", .type = &t_int_number, REFUSES(CGROUP_V1)},
    {"cpu_rt_runtime", .type = &t_int_number, REFUSES(CGROUP_V1)},
    {"cpu_shares", .type = &t_int_number, REFUSES("use `deploy.resources.reservations.cpus`")},
    {"cpus", NUM, DOES},
    {"cpuset", TEXT, REFUSES(LATER_RUN)},
    {"credential_spec", OBJECT(credential_table), REFUSES(WINDOWS)},
    {"depends_on", .type = &t_depends, .flags = CF_UNIQUE | CF_NAMES, .item = &i_text,
     .value = &i_dependency, DOES},
    {"deploy", .type = &t_object_null, .table = &deploy_table, DOES},
    {"develop", .type = &t_object_null, .table = &develop_table,
     WARNS("it is for development tools")},
    {"device_cgroup_rules", LIST, .flags = CF_UNIQUE, DOES},
    {"devices", .type = &t_devices, .item = &i_device, .identity = cf_id_device,
     PARTLY("devices of the node by path, each by its own name; no CDI names")},
    {"dns", TEXTS, .flags = CF_UNIQUE | CF_NOT_EMPTY, .identity = cf_id_text,
     REFUSES("other names are asked of the node's own nameservers")},
    {"dns_opt", LIST, .flags = CF_UNIQUE, .identity = cf_id_text, DOES},
    {"dns_search", TEXTS, .flags = CF_UNIQUE, .identity = cf_id_text, DOES},
    {"domainname", TEXT, DOES},
    {"entrypoint", .type = &t_command, .item = &i_text, DOES},
    {"env_file", .type = &t_env_files, .item = &i_env_file, .identity = cf_id_path, DOES},
    {"environment", .type = &t_env, .item = &i_text, .value = &i_scalar, DOES,
     .fine = value_variable},
    {"expose", NUMBERED, .flags = CF_UNIQUE, .identity = cf_id_text, DOES,
     .why = "every port of a service is open to its networks"},
    {"extends", .type = &t_extends, .table = &extends_table, DOES},
    {"external_links", LIST, .flags = CF_UNIQUE, REFUSES("use networks")},
    {"extra_hosts", .type = &t_hosts, .item = &i_text, .value = &i_host, DOES},
    {"gpus", .type = &t_gpus, .item = &i_gpu, .words = WORDS("all"), REFUSES(LATER_RUN)},
    {"group_add", NUMBERED, .flags = CF_UNIQUE, PARTLY("numbers of groups, no names")},
    {"healthcheck", OBJECT(health_table), DOES},
    {"hostname", TEXT, DOES, .fine = value_hostname},
    {"image", TEXT, DOES, .fine = value_image},
    {"init", FLAG, .flags = CF_KEEP, DOES},
    {"ipc", TEXT, ONLY("tasks do not share namespaces", "private", "shareable", "host")},
    {"isolation", TEXT, ONLY("there is one kind of isolation", "default")},
    {"label_file", TEXTS, .flags = CF_HOSTPATH, DOES},
    {"labels", KEYVALUE, DOES, .why = "`orlop ps --format json` shows them"},
    {"links", LIST, .flags = CF_UNIQUE, .identity = cf_id_text, DOES,
     .why = "services find each other by name; an alias is one for all in the network"},
    {"logging", .type = &t_logging, .table = &logging_table, DOES},
    {"mac_address", TEXT, REFUSES(LATER_NET)},
    {"mem_limit", SIZE, DOES},
    {"mem_reservation", .type = &t_size_int, DOES},
    {"mem_swappiness", .type = &t_int, .flags = CF_KEEP, REFUSES(CGROUP_V1)},
    {"memswap_limit", SIZE, REFUSES(LATER_RUN)},
    {"models", .type = &t_networks, .item = &i_text, .value = &i_model_use,
     REFUSES("models come from other tools")},
    {"network_mode", TEXT,
     ONLY("tasks do not share namespaces; none and host have no name in a network, no ports",
          "none", "host", "bridge", "default")},
    {"networks", .type = &t_networks, .flags = CF_UNIQUE, .item = &i_text, .value = &i_network_use,
     DOES},
    {"oom_kill_disable", FLAG, REFUSES(CGROUP_V1)},
    {"oom_score_adj", INT, .min = -1000, .max = 1000, DOES},
    {"pid", .type = &t_text_null, ONLY("tasks do not share namespaces", "host")},
    {"pids_limit", .type = &t_int_number, DOES},
    {"platform", TEXT, REFUSES("the image decides; nodes of other kinds come later")},
    {"ports", .type = &t_ports, .flags = CF_UNIQUE, .item = &i_port, .identity = cf_id_port, DOES},
    {"post_start", OBJECTS(i_hook), REFUSES(LATER_RUN)},
    {"pre_start", OBJECTS(i_pre_start), REFUSES(LATER_RUN)},
    {"pre_stop", OBJECTS(i_hook), REFUSES(LATER_RUN)},
    {"privileged", FLAG, DOES},
    {"profiles", LIST, .flags = CF_UNIQUE, .identity = cf_id_text, DOES},
    {"provider", OBJECT(provider_table), REFUSES("services of other tools are not run")},
    {"pull_policy", TEXT,
     .pattern =
         "always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+",
     ONLY("images come by `orlop image import`", "missing", "never")},
    {"pull_refresh_after", TEXT, REFUSES("images come by `orlop image import`")},
    {"read_only", FLAG, DOES},
    {"restart", TEXT, DOES},
    {"runtime", TEXT, REFUSES("Orlop has one runtime of its own")},
    {"scale", INT, .flags = CF_KEEP, .max = INT32_MAX, DOES},
    {"secrets", .type = &t_uses, .item = &i_use, .identity = cf_id_secret,
     .fallback = "/run/secrets/", DOES},
    {"security_opt", LIST, .flags = CF_UNIQUE,
     PARTLY("no-new-privileges (true unless it says false), seccomp: unconfined or a file; system "
            "calls of other machines are refused whatever it says")},
    {"shm_size", SIZE, DOES},
    {"stdin_open", FLAG, DOES},
    {"stop_grace_period", DURATION, DOES},
    {"stop_signal", TEXT, DOES, .fine = value_signal},
    {"storage_opt", OPTIONS, REFUSES(LATER_RUN)},
    {"sysctls", KEYVALUE, PARTLY("those of the task's own namespaces")},
    {"tmpfs", TEXTS, .flags = CF_UNIQUE, .identity = cf_id_text, DOES},
    {"tty", FLAG, REFUSES(LATER_RUN ": `orlop exec` gives a terminal")},
    {"ulimits", .type = &t_ulimits, .value = &i_ulimit, DOES, .fine = value_ulimit},
    {"use_api_socket", BOOL, REFUSES("there is no such socket")},
    {"user", TEXT, DOES, .fine = value_user},
    {"userns_mode", TEXT, ONLY("only host is done in this version", "host")},
    {"uts", TEXT, ONLY("tasks do not share namespaces", "host")},
    {"volumes", .type = &t_volumes, .flags = CF_UNIQUE, .item = &i_volume, .identity = cf_id_volume,
     DOES},
    {"volumes_from", LIST, .flags = CF_UNIQUE, PARTLY("from services of the file")},
    {"working_dir", TEXT, DOES, .fine = value_path},
    {"x-orlop", OBJECT(orlop_table), DOES},
};
const struct cf_table cf_service_table = {KEYS(service_keys)};
const struct cf_key cf_service = {"", OBJECT(cf_service_table), DOES};

/* ---- networks, volumes, secrets, configs, models ---- */

static const struct cf_key external_keys[] = {{"name", TEXT, DOES}};
static const struct cf_table external_table = {KEYS(external_keys)};
#define EXTERNAL .type = &t_external, .table = &external_table, .flags = 0

static const struct cf_key subnet_keys[] = {
    {"subnet", TEXT, DOES},
    {"ip_range", TEXT, REFUSES(LATER_NET)},
    {"gateway", TEXT, DOES},
    {"aux_addresses", .type = &t_options, .value = &i_text, REFUSES(LATER_NET)},
};
static const struct cf_table subnet_table = {KEYS(subnet_keys)};
static const struct cf_key i_subnet = {"", OBJECT(subnet_table)};
static const struct cf_key ipam_keys[] = {
    {"driver", TEXT, ONLY("addresses come from Orlop's own pool", "default")},
    {"config", .type = &t_subnets, .item = &i_subnet, PARTLY("one IPv4 subnet is done")},
    {"options", .type = &t_options, .value = &i_text, REFUSES(LATER_NET)},
};
static const struct cf_table ipam_table = {KEYS(ipam_keys)};
static const struct cf_key network_keys[] = {
    {"name", TEXT, DOES, .fine = value_resource},
    {"driver", TEXT,
     ONLY("bridge and overlay mean Orlop's own network", "bridge", "overlay", "default")},
    {"driver_opts", OPTIONS, REFUSES(LATER_NET)},
    {"ipam", OBJECT(ipam_table), DOES},
    {"external", EXTERNAL, DOES},
    {"internal", FLAG, DOES},
    {"enable_ipv4", FLAG, .flags = CF_KEEP, PARTLY("always on")},
    {"enable_ipv6", FLAG, .flags = CF_KEEP, PARTLY("tasks have IPv4 addresses only")},
    {"attachable", FLAG, WARNS("only tasks are attached")},
    {"labels", KEYVALUE, DOES},
};
static const struct cf_table network_table = {KEYS(network_keys), .finish = cf_finish_resource};
static const struct cf_key i_network = {"", .type = &t_object_null, .table = &network_table, DOES};

static const struct cf_key volume_res_keys[] = {
    {"name", TEXT, DOES, .fine = value_resource},
    {"driver", TEXT, ONLY("volumes are directories of the node", "local")},
    {"driver_opts", OPTIONS, REFUSES(LATER_RUN)},
    {"external", EXTERNAL, DOES},
    {"labels", KEYVALUE, DOES},
};
static const struct cf_table volume_res_table = {KEYS(volume_res_keys),
                                                 .finish = cf_finish_resource};
static const struct cf_key i_volume_res = {"", .type = &t_object_null, .table = &volume_res_table,
                                           DOES};

static const struct cf_key secret_keys[] = {
    {"name", TEXT, WARNS("it belongs to the app, and its content says which it is")},
    {"environment", TEXT, DOES},
    {"file", TEXT, .flags = CF_HOSTPATH, DOES},
    {"external", EXTERNAL,
     REFUSES("there is no store of secrets yet: use `file` or `environment`")},
    {"labels", KEYVALUE, WARNS("labels of secrets are not kept")},
    {"driver", TEXT, REFUSES("there are no secret drivers")},
    {"driver_opts", OPTIONS, REFUSES("there are no secret drivers")},
    {"template_driver", TEXT, REFUSES("contents are taken as they are")},
};
static const struct cf_table secret_table = {KEYS(secret_keys), .finish = cf_finish_resource};
static const struct cf_key i_secret = {"", OBJECT(secret_table), DOES};

static const struct cf_key config_keys[] = {
    {"name", TEXT, WARNS("it belongs to the app, and its content says which it is")},
    {"content", TEXT, .flags = CF_KEEP, DOES},
    {"environment", TEXT, DOES},
    {"file", TEXT, .flags = CF_HOSTPATH, DOES},
    {"external", EXTERNAL, REFUSES("there is no store of configs yet: use `file` or `content`")},
    {"labels", KEYVALUE, WARNS("labels of configs are not kept")},
    {"template_driver", TEXT, REFUSES("contents are taken as they are")},
};
static const struct cf_table config_table = {KEYS(config_keys), .finish = cf_finish_resource};
static const struct cf_key i_config = {"", OBJECT(config_table), DOES};

static const struct cf_key model_keys[] = {
    {"name", TEXT},
    {"model", TEXT, .flags = CF_NEED},
    {"context_size", .type = &t_int_only},
    {"runtime_flags", .type = &t_flags_list, .item = &i_text},
};
static const struct cf_table model_table = {KEYS(model_keys)};
static const struct cf_key i_model = {"", OBJECT(model_table)};

static const struct cf_key include_keys[] = {
    {"path", TEXTS, DOES},
    {"env_file", TEXTS, DOES},
    {"project_directory", TEXT, DOES},
};
static const struct cf_table include_table = {KEYS(include_keys), .closed = true};
static const struct cf_key i_include = {"", .type = &t_text_object, .table = &include_table};

/* ---- the root ---- */

#define RESOURCES(i) .type = &t_named, .value = &(i)

static const struct cf_key root_keys[] = {
    {"version", .type = &(const struct cf_type){K(CF_STR), .canon = cf_canon_none},
     WARNS("it is obsolete")},
    {"name", TEXT, DOES},
    {"include", .type = &t_include, .item = &i_include, DOES},
    {"services", RESOURCES(cf_service), .flags = CF_NAMES | CF_KEEP, DOES, .fine = value_service},
    {"models", RESOURCES(i_model), REFUSES("models come from other tools")},
    {"networks", RESOURCES(i_network), DOES, .fine = value_resource},
    {"volumes", RESOURCES(i_volume_res), .flags = CF_NAMES, DOES, .fine = value_resource},
    {"secrets", RESOURCES(i_secret), .flags = CF_NAMES, DOES, .fine = value_resource},
    {"configs", RESOURCES(i_config), .flags = CF_NAMES, DOES, .fine = value_resource},
};
const struct cf_table cf_root_table = {KEYS(root_keys)};
const struct cf_key cf_root = {"", OBJECT(cf_root_table), DOES};

const struct cf_key *cf_key_of(const struct cf_table *t, const char *name) {
    for (size_t i = 0; i < t->n; i++)
        if (*t->keys[i].name == *name && str_eq(t->keys[i].name, name)) return &t->keys[i];
    return NULL;
}

const struct cf_key *cf_key_below(const struct cf_key *k, const char *name) {
    if (!k) return NULL;
    return k->table ? cf_key_of(k->table, name) : k->value;
}
