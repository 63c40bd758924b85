export function keepCallers(_o: { wanted: (method: string, path: string) => boolean; onFault: (fault: unknown) => void }): void {}
