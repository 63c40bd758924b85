export { type CreateGatewayOptions, createGateway, type ListeningGateway } from './server/create-gateway.ts'
