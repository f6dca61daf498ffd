# ── the site profile ──────────────────────────────────────────────────────────────────────────────
# site.yaml: each line is `key: value` or `key: [value, value]`. What is not understood is refused.

CR=$(printf '\r')

read_site() {
  SITE_name='' SITE_jurisdiction='' SITE_region='' SITE_owner='' SITE_hardware='' SITE_engine=''
  SITE_keys='' SITE_accept='' SITE_data=/var/lib/packager SITE_listen=127.0.0.1:8080 SITE_keep=2
  SITE_watch=30 SITE_stock=true SITE_sign='' SITE_registry='' SITE_push='' SITE_authority='' SITE_login=''
  SITE_kubeconfig='' SITE_context='' SITE_namespace='' SITE_require=1 SITE_revoked='' SITE_apiVersion='' SITE_kind=''
  rs_seen=' ' rs_line=0
  [ -f "$SITE" ] || die 2 "there is no site profile" "$SITE" "" "" \
    "write one with: packager site init, or from the example in docs/site.md; name it with --site"
  while IFS= read -r rs_text || [ -n "$rs_text" ]; do
    rs_line=$((rs_line + 1))
    rs_text=${rs_text%"$CR"}
    case $rs_text in
      '' | '#'* | ---) continue ;;
      [a-zA-Z]*:*) ;;
      *) site_wrong "this line is no 'key: value'" ;;
    esac
    rs_key=${rs_text%%:*}
    case $rs_seen in *" $rs_key "*) site_wrong "$rs_key stands here twice" ;; esac
    rs_seen="$rs_seen$rs_key "
    site_value "${rs_text#*:}"
    case $rs_key in
      apiVersion | kind | name | jurisdiction | region | owner | hardware | engine | data | listen | keep | watch | stock | sign | require | \
        registry | push | authority | login | kubeconfig | context | namespace)
        case $VALUE in '['* | '{'* | '&'* | '*'* | '|'* | '>'* | '!'*)
          site_wrong "$rs_key is one plain value" ;;
        esac
        ;;
      keys | accept | revoked)
        case $VALUE in
          '['*']') VALUE=${VALUE#?} VALUE=${VALUE%?} ;;
          *) site_wrong "$rs_key is a list on one line: [a, b]" ;;
        esac
        ;;
      *) site_wrong "there is no key $rs_key" ;;
    esac
    eval "SITE_$rs_key=\$VALUE"
  done <"$SITE"
  check_site
}

# site_value TEXT: sets VALUE; quotes and a comment behind are taken off.
site_value() {
  VALUE=${1#"${1%%[! ]*}"}
  case $VALUE in
    '"'*) VALUE=${VALUE#?} VALUE=${VALUE%%'"'*} ;;
    "'"*) VALUE=${VALUE#?} VALUE=${VALUE%%"'"*} ;;
    '['*) VALUE=${VALUE%%]*}] ;;
    *)
      VALUE=${VALUE%% #*}
      VALUE=${VALUE%"${VALUE##*[! ]}"}
      ;;
  esac
}

site_wrong() { die 2 "the site profile cannot be used: $1" "$SITE:$rs_line" "" "" "mend that line"; }

check_site() {
  rs_line=1
  [ "$SITE_apiVersion" = packager/v1 ] || site_wrong "apiVersion is not packager/v1"
  [ "$SITE_kind" = Site ] || site_wrong "kind is not Site"
  for rs_key in name jurisdiction region engine; do
    eval "VALUE=\$SITE_$rs_key"
    [ -n "$VALUE" ] || site_wrong "it lacks $rs_key"
  done
  case $SITE_engine in
    docker | podman | quadlet | containerd) ;;
    kubernetes) check_cluster ;;
    *) site_wrong "engine is docker, podman, quadlet, containerd or kubernetes" ;;
  esac
  case $SITE_region in */*) ;; *) site_wrong "region is provider/region, such as site/riyadh-lab" ;; esac
  case $SITE_data in /*) ;; *) site_wrong "data is an absolute path" ;; esac
  case $SITE_keep in [1-9] | [1-9][0-9]) ;; *) site_wrong "keep is a number from 1 to 99" ;; esac
  case $SITE_watch in '' | *[!0-9]*) site_wrong "watch is a number of seconds" ;; esac
  case $SITE_stock in true | false) ;; *) site_wrong "stock is true or false" ;; esac
  case $SITE_require in [1-9]) ;; *) site_wrong "require is a number from 1 to 9" ;; esac
  LISTEN_HOST=${SITE_listen%:*} LISTEN_PORT=${SITE_listen##*:}
  case $LISTEN_PORT in '' | *[!0-9]*) site_wrong "listen is address:port, such as 127.0.0.1:8080" ;; esac
  case $LISTEN_HOST in '' | *[!0-9.]*) site_wrong "listen begins with an IPv4 address" ;; esac
  # Whoever listens on every address is asked on loopback.
  ASK_HOST=$LISTEN_HOST
  [ "$ASK_HOST" != 0.0.0.0 ] || ASK_HOST=127.0.0.1
}

# What a cluster needs to be told of; files are named from where the profile lies.
check_cluster() {
  case $SITE_registry in
    */*) ;;
    *) site_wrong "registry is where the nodes pull from, with a folder: registry.site.example:5000/ml" ;;
  esac
  case $SITE_registry in *[!a-z0-9./:_-]* | *: | */) site_wrong "registry is host:port/folder in small letters" ;; esac
  case $SITE_push in
    '') SITE_push=https://$SITE_registry ;;
    http://?* | https://?*) SITE_push=${SITE_push%/} ;;
    *) site_wrong "push is the registry as this machine reaches it, with http:// or https://" ;;
  esac
  case $SITE_push in *[!A-Za-z0-9./:_-]*) site_wrong "push is a plain address" ;; esac
  # A folder is the same on both ways, so that what is pushed is what is pulled.
  case ${SITE_push#*://} in */*) ;; *) SITE_push=$SITE_push/${SITE_registry#*/} ;; esac
  case $SITE_namespace in *[!a-z0-9-]* | -* | *-) site_wrong "namespace is small letters, digits and '-'" ;; esac
  [ ${#SITE_namespace} -le 63 ] || site_wrong "namespace has at most 63 letters"
  cc_here=$(dirname "$SITE")
  for rs_key in kubeconfig authority login; do
    eval "VALUE=\$SITE_$rs_key"
    case $VALUE in '') continue ;; /*) ;; *) VALUE=$cc_here/$VALUE ;; esac
    [ -f "$VALUE" ] || site_wrong "$rs_key: there is no file $VALUE"
    eval "SITE_$rs_key=\$VALUE"
  done
}

# each_of LIST COMMAND: calls the command with every value of a list, quotes and spaces taken off.
each_of() {
  eo_ifs=$IFS
  IFS=,
  for eo_value in $1; do
    IFS=$eo_ifs
    eo_value=$(printf %s "$eo_value" | sed "s/^[ \"']*//; s/[ \"']*\$//")
    [ -z "$eo_value" ] || "$2" "$eo_value"
  done
  IFS=$eo_ifs
}

# listed WORD LIST: whether the comma-separated list holds the word.
listed() {
  for l_word in $(printf %s "$2" | tr ',"'\' '   '); do
    [ "$l_word" != "$1" ] || return 0
  done
  return 1
}
