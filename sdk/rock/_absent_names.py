"""ROCK's public names that this client does not have yet.  Made by `python -m tests.parity`, like `PARITY.md`.

By module; `name=module` is one that the other module defines.
"""

from __future__ import annotations

__all__ = ["ABSENT"]

_NAMES = {
    "rock.actions.sandbox.sandbox_info": "SandboxInfo pick_sandbox_info_fields",
    "rock.common.constants": (
        "CPU_OVERCOMMIT_ALLOWED_KEYS_KEY CPU_OVERCOMMIT_HEADROOM_KEY DeleteReason DeploymentHookStep "
        "EXTRA_ACCELERATOR_TYPES_KEY KATA_DIND_DISK_SIZE_KEY KATA_RUNTIME_SWITCH SANDBOX_DISK_LIMIT_ROOTFS_KEY "
        "SANDBOX_DISK_OVERCOMMIT_RATIO_KEY SCHEDULER_LOG_NAME SUPPORT_KATA_SWITCH StopReason"
    ),
    "rock.common.exception": "handle_exceptions request_validation_exception_handler",
    "rock.common.port_validation": (
        "PORT_FORWARD_EXCLUDED_PORTS PORT_FORWARD_MAX_PORT PORT_FORWARD_MIN_PORT validate_port_forward_port"
    ),
    "rock.env_vars": "environment_variables",
    "rock.logger": (
        "StandardFormatter TimezoneFormatter configure_logging init_file_handler is_exception_traceback_enabled "
        "reset_log_file"
    ),
    "rock.sdk.bench": (
        "AgentConfig=rock.sdk.bench.models.trial.config AgentInfo=rock.sdk.bench.models.trial.result "
        "AgentResult=rock.sdk.bench.models.trial.result ArtifactConfig=rock.sdk.bench.models.trial.config "
        "EnvironmentConfig=rock.sdk.bench.models.trial.config ExceptionInfo=rock.sdk.job.result "
        "HFRegistryInfo=rock.sdk.bench.models.job.config HarborJobConfig=rock.sdk.bench.models.job.config "
        "HarborTrialResult=rock.sdk.bench.models.trial.result Job=rock.sdk.bench.job "
        "JobResult=rock.sdk.job.result JobStatus=rock.sdk.job.result "
        "LocalDatasetConfig=rock.sdk.bench.models.job.config MetricConfig=rock.sdk.bench.models.metric.config "
        "OrchestratorConfig=rock.sdk.bench.models.job.config OssMirrorConfig=rock.sdk.envhub.config "
        "OssRegistryInfo=rock.sdk.bench.models.job.config RegistryDatasetConfig=rock.sdk.bench.models.job.config "
        "RemoteRegistryInfo=rock.sdk.bench.models.job.config RetryConfig=rock.sdk.bench.models.job.config "
        "RockEnvironmentConfig=rock.sdk.bench.models.trial.config TaskConfig=rock.sdk.bench.models.trial.config "
        "VerifierConfig=rock.sdk.bench.models.trial.config VerifierResult=rock.sdk.bench.models.trial.result"
    ),
    "rock.sdk.bench.constants": "CHECK_INTERVAL DEFAULT_WAIT_TIMEOUT USER_DEFINED_LOGS",
    "rock.sdk.bench.job": "Job",
    "rock.sdk.bench.models": (
        "AgentConfig=rock.sdk.bench.models.trial.config ArtifactConfig=rock.sdk.bench.models.trial.config "
        "DatasetConfig=rock.sdk.bench.models.job.config EnvironmentConfig=rock.sdk.bench.models.trial.config "
        "EnvironmentType=rock.sdk.bench.models.environment_type HFRegistryInfo=rock.sdk.bench.models.job.config "
        "HarborJobConfig=rock.sdk.bench.models.job.config MetricConfig=rock.sdk.bench.models.metric.config "
        "MetricType=rock.sdk.bench.models.metric.type OrchestratorConfig=rock.sdk.bench.models.job.config "
        "OrchestratorType=rock.sdk.bench.models.orchestrator_type OssMirrorConfig=rock.sdk.envhub.config "
        "RetryConfig=rock.sdk.bench.models.job.config RockEnvironmentConfig=rock.sdk.bench.models.trial.config "
        "TaskConfig=rock.sdk.bench.models.trial.config VerifierConfig=rock.sdk.bench.models.trial.config"
    ),
    "rock.sdk.bench.models.environment_type": "EnvironmentType",
    "rock.sdk.bench.models.job": (
        "HarborJobConfig=rock.sdk.bench.models.job.config JobResult=rock.sdk.job.result "
        "JobStatus=rock.sdk.job.result LocalDatasetConfig=rock.sdk.bench.models.job.config "
        "OrchestratorConfig=rock.sdk.bench.models.job.config OssRegistryInfo=rock.sdk.bench.models.job.config "
        "RegistryDatasetConfig=rock.sdk.bench.models.job.config "
        "RemoteRegistryInfo=rock.sdk.bench.models.job.config RetryConfig=rock.sdk.bench.models.job.config "
        "RockEnvironmentConfig=rock.sdk.bench.models.trial.config"
    ),
    "rock.sdk.bench.models.job.config": (
        "BaseDatasetConfig DatasetConfig HFRegistryInfo HarborJobConfig LocalDatasetConfig LocalRegistryInfo "
        "OrchestratorConfig OssRegistryInfo RegistryDatasetConfig RemoteRegistryInfo RetryConfig"
    ),
    "rock.sdk.bench.models.metric": (
        "MetricConfig=rock.sdk.bench.models.metric.config MetricType=rock.sdk.bench.models.metric.type"
    ),
    "rock.sdk.bench.models.metric.config": "MetricConfig",
    "rock.sdk.bench.models.metric.type": "MetricType",
    "rock.sdk.bench.models.orchestrator_type": "OrchestratorType",
    "rock.sdk.bench.models.trial": (
        "AgentConfig=rock.sdk.bench.models.trial.config AgentInfo=rock.sdk.bench.models.trial.result "
        "AgentResult=rock.sdk.bench.models.trial.result ArtifactConfig=rock.sdk.bench.models.trial.config "
        "EnvironmentConfig=rock.sdk.bench.models.trial.config ExceptionInfo=rock.sdk.job.result "
        "HarborTrialResult=rock.sdk.bench.models.trial.result ModelInfo=rock.sdk.bench.models.trial.result "
        "OssMirrorConfig=rock.sdk.envhub.config TaskConfig=rock.sdk.bench.models.trial.config "
        "TimingInfo=rock.sdk.bench.models.trial.result VerifierConfig=rock.sdk.bench.models.trial.config "
        "VerifierResult=rock.sdk.bench.models.trial.result"
    ),
    "rock.sdk.bench.models.trial.config": (
        "AgentConfig ArtifactConfig EnvironmentConfig NativeConfig RockEnvironmentConfig TaskConfig "
        "TemplateConfig VerifierConfig"
    ),
    "rock.sdk.bench.models.trial.result": "AgentInfo AgentResult HarborTrialResult ModelInfo TimingInfo VerifierResult",
    "rock.sdk.builder": "",
    "rock.sdk.builder.base": "EnvBuilder EnvBuilderStatus",
    "rock.sdk.builder.image_mirror": "ImageMirror",
    "rock.sdk.builder.provider.docker": "Docker DockerCommand",
    "rock.sdk.builder.provider.dockerfile_builder": "DockerfileBuilder",
    "rock.sdk.builder.swe_rebench": "SWERebenchEnvBuilder",
    "rock.sdk.builder.terminal_bench": "TerminalBenchEnvBuilder",
    "rock.sdk.common.constants": "Constants DeprecatedMeta",
    "rock.sdk.common.exceptions": "WorkerCommitError from_rock_exception",
    "rock.sdk.envhub": (
        "EnvironmentConfig=rock.sdk.envhub.config OssMirrorConfig=rock.sdk.envhub.config "
        "TrackingConfig=rock.sdk.envhub.config"
    ),
    "rock.sdk.envhub.client": "EnvHubClient EnvHubError",
    "rock.sdk.envhub.config": "EnvironmentConfig OssMirrorConfig ProxyConfig TrackingConfig",
    "rock.sdk.envhub.datasets": (
        "DatasetClient=rock.sdk.envhub.datasets.client DatasetSpec=rock.sdk.envhub.datasets.models "
        "UploadResult=rock.sdk.envhub.datasets.models"
    ),
    "rock.sdk.envhub.datasets.client": "DatasetClient",
    "rock.sdk.envhub.datasets.models": "DatasetSpec UploadResult",
    "rock.sdk.envhub.datasets.registry": "",
    "rock.sdk.envhub.datasets.registry.base": "BaseDatasetRegistry",
    "rock.sdk.envhub.datasets.registry.oss": "OssDatasetRegistry",
    "rock.sdk.envhub.schema": "EnvHubClientConfig RockEnvInfo",
    "rock.sdk.job": (
        "AbstractTrial=rock.sdk.job.trial.abstract BashJobConfig=rock.sdk.job.config "
        "ExceptionInfo=rock.sdk.job.result Job=rock.sdk.job.api JobClient=rock.sdk.job.executor "
        "JobConfig=rock.sdk.job.config JobExecutor=rock.sdk.job.executor JobResult=rock.sdk.job.result "
        "JobStatus=rock.sdk.job.result Operator=rock.sdk.job.operator ScatterOperator=rock.sdk.job.operator "
        "TrialClient=rock.sdk.job.executor TrialResult=rock.sdk.job.result "
        "register_trial=rock.sdk.job.trial.registry"
    ),
    "rock.sdk.job.api": "Job",
    "rock.sdk.job.config": "BashJobConfig JobConfig",
    "rock.sdk.job.executor": "JobClient JobExecutor TrialClient TrialDoneCallback TrialStartedCallback",
    "rock.sdk.job.job_meta": "JobMetaRepository",
    "rock.sdk.job.meta": "JobMeta RunJobRef RunJobStatus RunMeta RunScoreSummary render_meta_json",
    "rock.sdk.job.operator": "Operator ScatterOperator",
    "rock.sdk.job.planner": "PlannedJob ResolvedTask SingleTaskPlanner",
    "rock.sdk.job.result": "ExceptionInfo JobResult JobStatus TrialResult",
    "rock.sdk.job.run_meta": "RunMetaRepository",
    "rock.sdk.job.trial": "AbstractTrial=rock.sdk.job.trial.abstract register_trial=rock.sdk.job.trial.registry",
    "rock.sdk.job.trial.abstract": "AbstractTrial",
    "rock.sdk.job.trial.bash": "BashTrial",
    "rock.sdk.job.trial.harbor": "HarborTrial",
    "rock.sdk.job.trial.registry": "register_trial",
    "rock.sdk.job.viewer": (
        "AgentLogs ArtifactManifestEntry ArtifactsData CommandLog FileInfo JobViewer RESERVED_JOB_DIR_NAMES "
        "VerifierOutput"
    ),
    "rock.sdk.model.client": "ModelClient",
    "rock.sdk.model.server.api.local": (
        "chat_completions file_handler get_next_request_index init_local_api local_router request_counter "
        "start_watch_agent"
    ),
    "rock.sdk.model.server.api.proxy": "CompletionBackend ForwardBackend ReplayBackend chat_completions proxy_router",
    "rock.sdk.model.server.config": (
        "LOG_DIR LOG_FILE ModelServiceConfig POLLING_INTERVAL_SECONDS REQUEST_END_MARKER REQUEST_START_MARKER "
        "REQUEST_TIMEOUT RESPONSE_END_MARKER RESPONSE_START_MARKER SESSION_END_MARKER TRAJ_FILE"
    ),
    "rock.sdk.model.server.file_handler": "FileHandler",
    "rock.sdk.model.server.main": "create_app create_config_from_args lifespan main",
    "rock.sdk.model.server.sse": "SSE_DONE completion_to_chunk_dict encode_sse_event parse_sse_data_chunks",
    "rock.sdk.model.server.traj": "SequentialCursor TrajectoryExhausted TrajectoryRecorder",
    "rock.sdk.model.server.utils": "MODEL_SERVICE_REQUEST_COUNT MODEL_SERVICE_REQUEST_RT record_traj",
    "rock.sdk.model.service": "ModelService",
    "rock.sdk.sandbox.agent.base": "Agent DefaultAgent",
    "rock.sdk.sandbox.agent.config": "AgentBashCommand AgentConfig DefaultAgentConfig",
    "rock.sdk.sandbox.agent.iflow_cli": "DEFAULT_IFLOW_SETTINGS IFlowCli IFlowCliConfig",
    "rock.sdk.sandbox.agent.openhands": "DEFAULT_PROMPT DEFAULT_RUN_SINGLE_CONFIG Openhands OpenhandsConfig",
    "rock.sdk.sandbox.agent.rock_agent": "RockAgent RockAgentConfig",
    "rock.sdk.sandbox.agent.swe_agent": (
        "DEFAULT_INSTANCE_TEMPLATE DEFAULT_NEXT_STEP_NO_OUTPUT_TEMPLATE DEFAULT_NEXT_STEP_TEMPLATE "
        "DEFAULT_RUN_SINGLE_CONFIG DEFAULT_SUBMIT_REVIEW_MESSAGES DEFAULT_SYSTEM_TEMPLATE SweAgent SweAgentConfig"
    ),
    "rock.sdk.sandbox.constants": "ENSURE_OSSUTIL_SCRIPT",
    "rock.sdk.sandbox.file_system": "WindowsFileSystem",
    "rock.sdk.sandbox.model_service.base": "ModelService ModelServiceConfig",
    "rock.sdk.sandbox.oss_client": "OssClient OssClientConfig",
    "rock.sdk.sandbox.runtime_env": (
        "NodeRuntimeEnv=rock.sdk.sandbox.runtime_env.node_runtime_env "
        "PythonRuntimeEnv=rock.sdk.sandbox.runtime_env.python_runtime_env "
        "RuntimeEnv=rock.sdk.sandbox.runtime_env.base"
    ),
    "rock.sdk.sandbox.runtime_env.base": "RuntimeEnv RuntimeEnvId",
    "rock.sdk.sandbox.runtime_env.node_runtime_env": "NodeRuntimeEnv",
    "rock.sdk.sandbox.runtime_env.python_runtime_env": "PythonRuntimeEnv",
    "rock.sdk.sandbox.speedup": "SpeedupExecutor=rock.sdk.sandbox.speedup.executor",
    "rock.sdk.sandbox.speedup.base": "SpeedupStrategy",
    "rock.sdk.sandbox.speedup.constants": (
        "setup_apt_source_template setup_github_hosts_template setup_pip_source_template"
    ),
    "rock.sdk.sandbox.speedup.executor": "SpeedupExecutor",
    "rock.sdk.sandbox.speedup.strategies": (
        "AptSpeedupStrategy=rock.sdk.sandbox.speedup.strategies.apt "
        "GithubSpeedupStrategy=rock.sdk.sandbox.speedup.strategies.github "
        "PipSpeedupStrategy=rock.sdk.sandbox.speedup.strategies.pip"
    ),
    "rock.sdk.sandbox.speedup.strategies.apt": "AptSpeedupStrategy",
    "rock.sdk.sandbox.speedup.strategies.github": "GithubSpeedupStrategy",
    "rock.sdk.sandbox.speedup.strategies.pip": "PipSpeedupStrategy",
    "rock.sdk.sandbox.storage_client": "ArchiveNotFoundError StorageClient",
    "rock.utils": (
        "DockerUtil FileUtil=rock.utils.data HttpUtils=rock.utils.http ImageUtil ListUtil=rock.utils.data "
        "RayUtil=rock.utils.concurrent_helper get_host_ip=rock.utils.system "
        "get_uniagent_endpoint=rock.utils.system refresh_docker_used_ports=rock.utils.system"
    ),
    "rock.utils.concurrent_helper": (
        "DB_THREAD_POOL_SIZE RAY_EXECUTOR_MAX_WORKERS RayUtil create_db_executor get_ray_executor"
    ),
    "rock.utils.crypto_utils": "AESEncryption AESGCM256Strategy EncryptionMode EncryptionStrategy",
    "rock.utils.data": "FileUtil K ListUtil V",
    "rock.utils.http": "HttpUtils",
    "rock.utils.system": "get_host_ip get_uniagent_endpoint is_primary_pod refresh_docker_used_ports",
}

ABSENT: dict[str, dict[str, str]] = {
    module: {name: home or module for name, _, home in (each.partition("=") for each in names.split())}
    for module, names in _NAMES.items()
}
"""The module that defines each name, by module and name."""
