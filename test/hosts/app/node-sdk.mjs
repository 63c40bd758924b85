// Loaded before a host that leaves everything to NodeSDK and its configuration file.
import { startNodeSdk } from '@opentelemetry/sdk-node'

globalThis.nodeSdk = startNodeSdk()
