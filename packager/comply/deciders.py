"""One decider for each kind of demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from packager.comply.base import decide_base_origin
from packager.comply.certifications import decide_hosting_certification
from packager.comply.cryptography import decide_cryptography
from packager.comply.duties import (
    decide_ai_duty,
    decide_egress,
    decide_log_retention,
    decide_telemetry,
)
from packager.comply.encryption import decide_model_encrypted
from packager.comply.export_control import decide_accelerator_export
from packager.comply.licenses import decide_model_license
from packager.comply.location import (
    decide_data_at_rest,
    decide_inference,
    decide_keys,
    decide_logs,
    decide_transfer,
)
from packager.comply.origin import decide_model_origin
from packager.comply.registry import decide_registry
from packager.comply.situation import Outcome, Situation
from packager.domain.jurisdiction import Demand, Rule

DECIDERS: Mapping[Demand, Callable[[Rule, Situation], Outcome]] = {
    Demand.INFERENCE_WITHIN: decide_inference,
    Demand.REGISTRY_WITHIN: decide_registry,
    Demand.DATA_AT_REST_WITHIN: decide_data_at_rest,
    Demand.LOGS_WITHIN: decide_logs,
    Demand.KEYS_WITHIN: decide_keys,
    Demand.TRANSFER: decide_transfer,
    Demand.EGRESS_DENIED: decide_egress,
    Demand.TELEMETRY_OFF: decide_telemetry,
    Demand.MODEL_LICENSE_KNOWN: decide_model_license,
    Demand.LOG_RETENTION: decide_log_retention,
    Demand.CRYPTOGRAPHY: decide_cryptography,
    Demand.AI_DUTY: decide_ai_duty,
    Demand.HOSTING_CERTIFICATION: decide_hosting_certification,
    Demand.MODEL_ORIGIN_WITHIN: decide_model_origin,
    Demand.BASE_ORIGIN_WITHIN: decide_base_origin,
    Demand.ACCELERATOR_EXPORT: decide_accelerator_export,
    Demand.MODEL_ENCRYPTED: decide_model_encrypted,
}
